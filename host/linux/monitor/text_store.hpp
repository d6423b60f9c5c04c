// SPDX-License-Identifier: Apache-2.0
// Prepared texts, kept between runs in the user's cache directory and shared by all picoprocesses that map them.
//
// A text is found by what its file is (device, number, size, times of change). Nothing in the directory is believed
// that is not the user's own, that others may write to, that was written before the machine started, or that has
// changed since this program wrote it: the index tells what each file was like then, and no program can set a file's
// time of change. The directory itself is in no view (compile_view).
//
// The directory: `index`, a hash table of which a start reads the few places that it needs, and texts by number. All
// members may be removed at any time.
#pragma once

#include <sys/stat.h>

#include <deque>
#include <string>
#include <vector>

#include "gate/types.hpp"
#include "host/linux/monitor/cache_directory.hpp"

namespace postern::host {

class TextStore {
public:
    /// Opens the index; creates nothing yet. "": keeps nothing and finds nothing.
    explicit TextStore(std::string directory);

    enum class Answer { unknown, nothing, prepared };
    /// What is known of a file: with Answer::prepared its text, in `image` opened for reading. What is gone or is not
    /// what was written is unknown.
    Answer open(const struct stat& file, gate::PreparedText& text, Fd& image);
    /// The file was opened to be run or linked: worth a build, if it is unknown. `file` is copied.
    void want(int file, const struct stat& status);
    bool has_work() const { return !wanted_.empty(); }
    /// Prepares one of the files that are wanted, for this run's next opening and all later runs. Some milliseconds.
    void build();

private:
    struct Identity {
        u64 device, number, size, modified, changed;
        bool operator==(const Identity&) const = default;
    };
    struct Record {
        Identity source;
        Identity image;  ///< all 0 when nothing is prepared: the file was looked at in vain
        u64 name;        ///< of the image: its number in decimal
        u64 age;         ///< later ones have greater numbers
        gate::PreparedText text;
    };
    struct Place {
        Record record;  ///< source.number 0: none
        u64 sum;        ///< of the record
    };
    static usize place_of(const Identity& source);
    struct Wanted {
        Fd file;
        struct stat status;
    };
    static Identity identity(const struct stat& status);
    bool find(const Identity& source, Record& record) const;
    void open_index();
    std::vector<Record> read_index() const;
    bool write_index(const std::vector<Record>& records);
    void remove_unknown(const std::vector<Record>& records);
    bool write_image(const std::vector<u8>& image, Record& record);

    CacheDirectory directory_;
    Fd index_;  ///< as it was when it was last opened; who writes to it replaces it
    std::vector<Identity> disbelieved_;
    std::deque<Wanted> wanted_;
};

}  // namespace postern::host
