# SPDX-License-Identifier: Apache-2.0
# needs: javac java
# The compiler, and a program with threads whose heap is too small for its rubbish.
cat > Main.java <<'E'
import java.util.*; import java.util.concurrent.*; import java.nio.file.*;
public class Main {
  public static void main(String[] a) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(4); List<Future<Long>> all = new ArrayList<>();
    for (int k = 0; k < 8; ++k) all.add(pool.submit(() -> { long s = 0; Map<Integer, byte[]> m = new HashMap<>();
      for (int i = 0; i < 20000; ++i) { m.put(i % 500, new byte[4096]); s += m.size(); } return s; }));
    long sum = 0; for (Future<Long> f : all) sum += f.get(); pool.shutdown();
    Process p = new ProcessBuilder("sh", "-c", "cat; echo end").start();
    p.getOutputStream().write("in\n".getBytes()); p.getOutputStream().close();
    String out = new String(p.getInputStream().readAllBytes()); if (p.waitFor() != 0 || !out.equals("in\nend\n")) throw new Error(out);
    Files.writeString(Path.of("f"), "x".repeat(100000)); if (Files.size(Path.of("f")) != 100000) throw new Error();
    System.gc(); System.out.println(sum > 0 ? "done" : "no");
  }
}
E
javac Main.java
java -Xmx48m -XX:+UseSerialGC Main | grep -q done
java -Xmx64m -XX:+UseG1GC Main
