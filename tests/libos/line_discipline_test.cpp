// SPDX-License-Identifier: Apache-2.0
#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <random>
#include <string>

#include "libos/tty/line_discipline.hpp"

extern "C" int ioctl(int, unsigned long, ...);

namespace postern::libos {
namespace {

class Line {
public:
    Line() : discipline_{new LineDiscipline} {}
    LineDiscipline* operator->() { return discipline_.get(); }
    u32 type(const std::string& text) {
        return discipline_->offer(reinterpret_cast<const u8*>(text.data()), static_cast<u32>(text.size()));
    }
    u32 print(const std::string& text) {
        return discipline_->write(reinterpret_cast<const u8*>(text.data()), static_cast<u32>(text.size()));
    }
    std::string screen() {
        std::string out(LineDiscipline::kOutputSize, 0);
        u32 size = discipline_->peek_output(reinterpret_cast<u8*>(out.data()), static_cast<u32>(out.size()));
        discipline_->drop_output(size);
        out.resize(size);
        return out;
    }
    /// What one read(2) of so many bytes gives; "none" when it would wait.
    std::string read(usize most = 4096) {
        if (!discipline_->readable()) return "none";
        std::string out(most, 0);
        usize done = 0;
        bool whole = false;
        while (done < most && !whole && discipline_->readable()) {
            u32 got = discipline_->read(reinterpret_cast<u8*>(out.data()) + done, static_cast<u32>(most - done), whole);
            done += got;
            if (got == 0 || !discipline_->canonical()) break;
        }
        if (done == most && !whole) discipline_->skip_end_of_file();
        out.resize(done);
        return out;
    }
    template <class Change>
    void set(Change change) {
        TerminalSettings settings = discipline_->settings();
        change(settings);
        discipline_->change(settings);
    }

private:
    std::unique_ptr<LineDiscipline> discipline_;
};

TEST(LineDiscipline, EditsLines) {
    Line line;
    line.type("abc\x7f\x7fx\tyz\x17q\n");
    EXPECT_EQ(line.read(), "ax\tq\n");
    EXPECT_EQ(line.screen(), "abc\b \b\b \bx\tyz\b \b\b \bq\r\n");
    line.type("wrong\x15right\x16\x03\r");
    EXPECT_EQ(line.read(), "right\x03\n");
    line.type("half\x04");
    EXPECT_EQ(line.read(), "half");
    line.type("\x04");
    EXPECT_EQ(line.read(), "");
    EXPECT_EQ(line.read(), "none");
}

TEST(LineDiscipline, ErasesTabsAndCharactersOfSeveralBytes) {
    Line line;
    line.print("12");
    line.type("a\tb\x7f\x7f");
    EXPECT_EQ(line.screen(), "12a\tb\b \b\b\b\b\b\b");
    line.set([](TerminalSettings& settings) { settings.input |= IUTF8; });
    line.type("\xe2\x82\xac\x7f\n");
    EXPECT_EQ(line.screen(), "\xe2\x82\xac\b \b\r\n");
    EXPECT_EQ(line.read(), "a\n");
}

TEST(LineDiscipline, TellsOfSignals) {
    Line line;
    line.type("lost");
    (void)line->take_events();
    line.type("\x03");
    EXPECT_TRUE(line->take_events() & LineDiscipline::kInterrupt);
    EXPECT_EQ(line->available(), 0u);
    line.set([](TerminalSettings& settings) { settings.local |= NOFLSH; });
    line.type("kept\x1a\n");
    EXPECT_TRUE(line->take_events() & LineDiscipline::kSuspend);
    EXPECT_EQ(line.read(), "kept\n");
}

TEST(LineDiscipline, StopsAndStartsOutput) {
    Line line;
    line.print("shown");
    line.type("\x13");
    EXPECT_EQ(line.print("held"), 0u);
    line.type("x");
    EXPECT_EQ(line.screen(), "shown");
    line.type("\x11");
    EXPECT_EQ(line.screen(), "x");
    EXPECT_EQ(line.print("now"), 3u);
}

TEST(LineDiscipline, IsStoppedThoughNobodyReads) {
    Line line;
    line.set([](TerminalSettings& settings) { settings.local &= ~u32{ICANON | ECHO}; });
    line.type(std::string(5000, 'x'));
    line.type("\x13");
    EXPECT_FALSE(line->writable());
    line.type("\x11");
    EXPECT_TRUE(line->writable());
}

TEST(LineDiscipline, IsBounded) {
    Line line;
    line.set([](TerminalSettings& settings) { settings.local &= ~u32{ICANON | ECHO}; });
    std::string much(20000, 'x');
    u32 taken = line.type(much);
    EXPECT_EQ(taken, LineDiscipline::kLineSize - 1 + LineDiscipline::kQueueSize);
    u32 got = 0;
    for (std::string part; (part = line.read()) != "none";) got += static_cast<u32>(part.size());
    EXPECT_EQ(got, taken);
    EXPECT_LE(line.print(much), LineDiscipline::kWriteLimit);
    EXPECT_FALSE(line->writable());
    line.screen();
    EXPECT_TRUE(line->writable());
}

// The same keys, settings and output at a pseudo-terminal of this machine. Left out is what depends there on when its
// worker runs: stopped output, and keys that flush.
class Native {
public:
    Native() : master_{open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK)} {
        int zero = 0;
        if (master_ < 0 || ioctl(master_, TIOCSPTLCK, &zero) != 0) return;
        slave_ = ioctl(master_, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK);
    }
    ~Native() { close(slave_), close(master_); }
    bool there() const { return slave_ >= 0; }
    void set(const TerminalSettings& settings) { ioctl(slave_, TCSETS2, &settings); }
    TerminalSettings settings() const {
        TerminalSettings settings;
        ioctl(slave_, TCGETS2, &settings);
        return settings;
    }
    void type(const std::string& text) { EXPECT_EQ(write(master_, text.data(), text.size()), ssize_t(text.size())); }
    void print(const std::string& text) { EXPECT_EQ(write(slave_, text.data(), text.size()), ssize_t(text.size())); }
    std::string screen(usize size) { return take(master_, size); }
    std::string read(usize most) {
        std::string out(most, 0);
        ssize_t got = ::read(slave_, out.data(), most);
        if (got < 0) return "none";
        out.resize(static_cast<usize>(got));
        return out;
    }

private:
    static std::string take(int fd, usize size) {
        std::string out;
        char buffer[4096];
        for (int tries = 0; out.size() < size && tries < 200; ++tries) {
            pollfd event{fd, POLLIN, 0};
            poll(&event, 1, 10);
            for (ssize_t got; (got = ::read(fd, buffer, sizeof buffer)) > 0;) out.append(buffer, size_t(got));
        }
        return out;
    }
    int master_, slave_ = -1;
};

constexpr u32 kInput[] = {ISTRIP, INLCR, IGNCR, ICRNL, IUCLC, IUTF8, PARMRK, IMAXBEL};
constexpr u32 kOutput[] = {OPOST, OLCUC, ONLCR, OCRNL, ONOCR, ONLRET, XTABS};
constexpr u32 kLocal[] = {ICANON, ECHO, ECHOE, ECHOK, ECHONL, ECHOCTL, ECHOPRT, ECHOKE, IEXTEN};

/// Empty when both did the same, else what differed.
std::string compare(u32 seed, useconds_t patience) {
    const std::string keys{
        "\x7f\b\x15\x17\x16\x12\x04\r\n\t;!\0\xff\xc3\xa9\xe2\x82\xac"
        "A_ \x01\x0f",
        24};
    const std::string texts[] = {"hello\n", "a\tb\tc\n", "x\b\b\ty", "\r\rAbC\xc3\xa9\t|", "\n\n\r\n"};
    std::mt19937 random{seed};
    auto below = [&](u32 limit) { return static_cast<u32>(random() % limit); };
    Native native;
    Line line;
    for (u32 step = 0; step < 12; ++step) {
        std::string expected, got;
        u32 what = below(10);
        if (what < 3 || step == 0) {
            TerminalSettings settings = native.settings();
            settings.input &= ~u32{IXON};
            settings.local &= ~u32{ISIG};
            for (u32 bit : kInput) settings.input ^= below(4) == 0 ? bit : 0;
            for (u32 bit : kOutput) settings.output ^= below(4) == 0 ? bit : 0;
            for (u32 bit : kLocal) settings.local ^= below(4) == 0 ? bit : 0;
            settings.characters[VEOL] = below(2) ? ';' : 0;
            settings.characters[VEOL2] = below(2) ? '!' : 0;
            settings.characters[VERASE] = below(3) ? 127 : 8;
            native.set(settings);
            line->change(native.settings());
        } else if (what < 8) {
            std::string typed;
            for (u32 left = below(24); left > 0; --left)
                typed += below(3) == 0 ? keys[below(24)] : "abc DEF x1"[below(10)];
            if (!typed.empty()) native.type(typed);
            EXPECT_EQ(line.type(typed), typed.size());
            usleep(patience);
        } else if (what == 8) {
            const std::string& text = texts[below(5)];
            native.print(text);
            EXPECT_EQ(line.print(text), text.size());
        } else {
            usize most = below(3) == 0 ? below(10) + 1 : 4096;
            expected = native.read(most), got = line.read(most);
        }
        std::string shown = line.screen();
        if (got == expected) expected = native.screen(shown.size()), got = shown;
        if (got != expected) return "step " + std::to_string(step) + ": '" + got + "' instead of '" + expected + "'";
    }
    return "";
}

TEST(LineDiscipline, DoesAsTheKernel) {
    if (!Native{}.there()) GTEST_SKIP() << "no pseudo-terminals here";
    for (u32 seed = 1; seed <= 150; ++seed) {
        // The kernel looks at keys when its worker runs: what differs once may have been that.
        std::string difference = compare(seed, 300);
        for (u32 again = 1; again <= 4 && !difference.empty(); ++again) difference = compare(seed, 10'000 * again);
        EXPECT_EQ(difference, "") << "seed " << seed;
    }
}

}  // namespace
}  // namespace postern::libos
