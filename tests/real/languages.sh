# SPDX-License-Identifier: Apache-2.0
# needs: ruby php R ffmpeg sqlite3
# Interpreters and tools, each at something of its own kind.
test "$(ruby -e 'q = Queue.new; t = 4.times.map { |i| Thread.new { 100.times { |k| q << i * k } } }; t.each(&:join); r, w = IO.pipe; pid = fork { w.puts q.size; exit! 3 }; w.close; s = r.read.to_i; Process.wait pid; puts s + $?.exitstatus')" = 403
test "$(php -r '$a = range(1, 1000); usort($a, fn($x, $y) => $y <=> $x); $p = proc_open(["tr", "a-z", "A-Z"], [["pipe", "r"], ["pipe", "w"]], $f); fwrite($f[0], "abc"); fclose($f[0]); echo $a[0], stream_get_contents($f[1]); proc_close($p);')" = 1000ABC
test "$(R --vanilla --slave -e 'set.seed(1); x <- rnorm(1000); y <- 2 * x + rnorm(1000, sd = 0.01); cat(round(coef(lm(y ~ x))[2], 1)); pdf("p.pdf"); plot(x, y); invisible(dev.off()); stopifnot(file.size("p.pdf") > 1000)')" = 2
ffmpeg -v error -f lavfi -i testsrc=duration=1:size=160x120:rate=10 -f lavfi -i sine=duration=1 -c:v mpeg4 -c:a aac -y v.mp4
ffmpeg -v error -i v.mp4 -f null - ; test "$(ffprobe -v error -count_frames -select_streams v -show_entries stream=nb_read_frames -of csv=p=0 v.mp4)" = 10
sqlite3 d.db 'pragma journal_mode = wal' > /dev/null
for i in 1 2 3; do (for k in $(seq 20); do sqlite3 -cmd '.timeout 20000' d.db "create table if not exists t(x); insert into t values($i * 100 + $k);"; done) & done; wait
test "$(sqlite3 d.db 'select count(*) from t')" = 60; test "$(sqlite3 d.db 'pragma integrity_check')" = ok
echo done
