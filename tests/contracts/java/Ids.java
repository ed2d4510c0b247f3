package headrace.functions;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/**
 * Reads {@code seconds record-seconds id}, separated by tabs, and prints for each whether it is the first of its id, the bytes that its
 * bucket holds then, and the bucket; for {@code test_event_ids.py}. The arguments: seconds that an id is remembered, and
 * buckets, 0 for as many as there are.
 */
public final class Ids {
  private Ids() {}

  /** Reads to the end. */
  public static void main(String[] arguments) throws IOException {
    long keepS = Long.parseLong(arguments[0]);
    int buckets = Integer.parseInt(arguments[1]);
    Map<Integer, byte[]> state = new HashMap<>();
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      String[] fields = line.split("\t", -1);
      int bucket = buckets == 0 ? EventIds.bucketOf(fields[2]) : EventIds.bucketOf(fields[2]) % buckets;
      byte[] before = state.getOrDefault(bucket, EventIds.NONE);
      byte[] id = fields[2].getBytes(StandardCharsets.UTF_8);
      byte[] now = EventIds.added(before, id, Long.parseLong(fields[0]), Long.parseLong(fields[1]), keepS);
      state.put(bucket, now == null ? before : now);
      System.out.println((now != null) + "\t" + state.get(bucket).length + "\t" + bucket);
    }
  }
}
