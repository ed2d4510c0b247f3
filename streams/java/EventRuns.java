package headrace.functions;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Map;
import java.util.function.Consumer;
import org.apache.flink.table.api.dataview.MapView;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;

/**
 * One item's events, packed into runs of bytes, oldest first.
 *
 * <p>A new event is appended to the tail, one value beside the map of runs; a full tail becomes a run, and the last run is
 * merged into the one before as soon as that is less than twice its size. So n events lie in O(log n) runs, and each was
 * copied O(log n) times. What expired is dropped when its run is merged; a run that is not written any more is forgotten
 * by the state's own retention.
 *
 * <p>The tail is there because every access to a map with retention looks through the maps of five keys for what expired
 * and copies them: with a run an event that was a quarter of the feature job, and a third of all it allocated.
 *
 * <p>A run is its events: length (4), broker time (8), event time (8), outcome
 * (4), value (8, NaN for none), then event id, user id and action, each a length (4) and UTF-8.
 */
final class EventRuns {
  /** Flink compares a value with what it was after each event: this is what that may cost. */
  private static final int FULL_TAIL = 1024;

  private static final int FIXED = Integer.BYTES + 3 * Long.BYTES + Integer.BYTES;

  private EventRuns() {}

  /**
   * Adds an event.
   *
   * @param runs by number from 0; one that was forgotten counts as empty
   * @param state the tail, and how many runs there are
   * @param event item_id, event_id, user_id, action, event_time_ms, value, outcome, record_time_ms
   * @param sinceMs broker time; what is older may be dropped
   */
  static void add(MapView<Integer, byte[]> runs, CategorizeEvents.Runs state, RowData event, long sinceMs)
      throws Exception {
    state.tail = joined(state.tail, packed(event));
    if (state.tail.length >= FULL_TAIL) {
      state.count = addRun(runs, state.count, state.tail, sinceMs);
      state.tail = new byte[0];
    }
  }

  /** Adds a run behind {@code count} others and returns how many there are then. */
  private static int addRun(MapView<Integer, byte[]> runs, int count, byte[] run, long sinceMs) throws Exception {
    byte[] last = run;
    int at = count;
    for (; at > 0; at--) {
      byte[] before = runs.get(at - 1);
      if (before != null && !isDue(before, last)) {
        break;
      }
      if (before != null) {
        last = merged(before, last, sinceMs);
        runs.remove(at - 1);
      }
    }
    runs.put(at, last);
    return at + 1;
  }

  /** Calls {@code take} with every event of broker time {@code sinceMs} or later, as {@link #add} takes it. */
  static void forEach(
      MapView<Integer, byte[]> runs, byte[] tail, StringData itemId, long sinceMs, Consumer<RowData> take)
      throws Exception {
    for (Map.Entry<Integer, byte[]> entry : runs.entries()) {
      forEach(entry.getValue(), itemId, sinceMs, take);
    }
    forEach(tail, itemId, sinceMs, take);
  }

  private static void forEach(byte[] events, StringData itemId, long sinceMs, Consumer<RowData> take) {
    ByteBuffer run = ByteBuffer.wrap(events);
    while (run.hasRemaining()) {
      int end = run.position() + run.getInt();
      long recordMs = run.getLong();
      if (recordMs >= sinceMs) {
        take.accept(unpacked(run, itemId, recordMs));
      }
      run.position(end);
    }
  }

  private static byte[] joined(byte[] left, byte[] right) {
    byte[] both = Arrays.copyOf(left, left.length + right.length);
    System.arraycopy(right, 0, both, left.length, right.length);
    return both;
  }

  private static boolean isDue(byte[] before, byte[] last) {
    return before.length < 2L * last.length;
  }

  private static byte[] merged(byte[] left, byte[] right, long sinceMs) {
    ByteBuffer run = ByteBuffer.allocate(left.length + right.length);
    putSince(run, left, sinceMs);
    putSince(run, right, sinceMs);
    return run.hasRemaining() ? Arrays.copyOf(run.array(), run.position()) : run.array();
  }

  /** Copies a run's events, without those that expired. */
  private static void putSince(ByteBuffer target, byte[] run, long sinceMs) {
    ByteBuffer events = ByteBuffer.wrap(run);
    int from = 0;
    for (int at = 0; at < run.length; ) {
      int length = events.getInt(at);
      if (events.getLong(at + Integer.BYTES) < sinceMs) {
        target.put(run, from, at - from);
        from = at + length;
      }
      at += length;
    }
    target.put(run, from, run.length - from);
  }

  private static byte[] packed(RowData event) {
    byte[] id = event.getString(1).toBytes();
    byte[] userId = event.getString(2).toBytes();
    byte[] action = event.getString(3).toBytes();
    int length = FIXED + 3 * Integer.BYTES + id.length + userId.length + action.length;
    ByteBuffer run = ByteBuffer.allocate(length);
    run.putInt(length).putLong(event.getLong(7)).putLong(event.getLong(4));
    run.putInt(event.getInt(6)).putDouble(event.isNullAt(5) ? Double.NaN : event.getDouble(5));
    for (byte[] text : new byte[][] {id, userId, action}) {
      run.putInt(text.length).put(text);
    }
    return run.array();
  }

  private static RowData unpacked(ByteBuffer run, StringData itemId, long recordMs) {
    long timeMs = run.getLong();
    int outcome = run.getInt();
    double value = run.getDouble();
    StringData id = text(run);
    StringData userId = text(run);
    StringData action = text(run);
    return GenericRowData.of(
        itemId, id, userId, action, timeMs, Double.isNaN(value) ? null : value, outcome, recordMs);
  }

  private static StringData text(ByteBuffer run) {
    byte[] bytes = new byte[run.getInt()];
    run.get(bytes);
    return StringData.fromBytes(bytes);
  }
}
