package headrace.functions;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.function.IntToLongFunction;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.functions.AggregateFunction;

/**
 * The newest N events by (time, id), newest first, whatever their order of arrival and however often one comes.
 *
 * <p>They lie packed in one array of bytes, which is never changed: state, rows and snapshots share it. As lists of texts
 * they were 150 objects a user, copied one by one into every row and every checkpoint. {@link FeatureRows} writes them.
 *
 * <p>An event is its length (2), time (8), outcome (1), lengths of event id and item id (2 each), then event id, item id and
 * action as UTF-8.
 */
@FunctionHint(output = @DataTypeHint("BYTES"))
public class NewestEvents extends AggregateFunction<byte[], NewestEvents.Entries> {
  private static final int TIME = Short.BYTES;
  private static final int OUTCOME = TIME + Long.BYTES;
  private static final int ID_LENGTH = OUTCOME + 1;
  private static final int ITEM_LENGTH = ID_LENGTH + Short.BYTES;
  private static final int ID = ITEM_LENGTH + Short.BYTES;

  /** The events, newest first. */
  public static class Entries {
    @DataTypeHint("BYTES")
    public byte[] packed = new byte[0];
  }

  @Override
  public Entries createAccumulator() {
    return new Entries();
  }

  /** Adds one event; it falls out at once where it or {@code limit} newer ones are known. */
  public void accumulate(
      Entries entries,
      Integer limit,
      Long timeMs,
      @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData id,
      @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData itemId,
      @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData action,
      Integer outcome) {
    ByteBuffer known = ByteBuffer.wrap(entries.packed);
    byte[] idBytes = id.toBytes();
    int at = 0;
    int newer = 0;
    int order = 1;
    while (at < entries.packed.length && (order = compare(known, at, timeMs, idBytes)) > 0) {
      at += known.getShort(at);
      newer++;
    }
    // An event comes again when its item's categories change.
    if (newer >= limit || (at < entries.packed.length && order == 0)) {
      return;
    }
    int end = at;
    for (int kept = newer + 1; kept < limit && end < entries.packed.length; kept++) {
      end += known.getShort(end);
    }
    entries.packed = inserted(entries.packed, at, end, packed(timeMs, idBytes, itemId, action, outcome));
  }

  @Override
  public byte[] getValue(Entries entries) {
    return entries.packed;
  }

  /** Puts the columns of a packed history: item ids, actions, times and outcomes. */
  static void putValues(ProtoBuffer out, byte[] packed) {
    ByteBuffer events = ByteBuffer.wrap(packed);
    int value = out.begin(ProtoBuffer.VALUE);
    int list = out.begin(FeastValues.STRING_LIST);
    for (int at = 0; at < packed.length; at += events.getShort(at)) {
      int start = at + ID + events.getShort(at + ID_LENGTH);
      out.putBytes(FeastValues.ELEMENTS, packed, start, events.getShort(at + ITEM_LENGTH));
    }
    out.end(list);
    out.end(value);
    value = out.begin(ProtoBuffer.VALUE);
    list = out.begin(FeastValues.STRING_LIST);
    for (int at = 0; at < packed.length; at += events.getShort(at)) {
      int start = ID + events.getShort(at + ID_LENGTH) + events.getShort(at + ITEM_LENGTH);
      out.putBytes(FeastValues.ELEMENTS, packed, at + start, events.getShort(at) - start);
    }
    out.end(list);
    out.end(value);
    putNumbers(out, events, at -> events.getLong(at + TIME));
    putNumbers(out, events, at -> packed[at + OUTCOME]);
  }

  private static void putNumbers(ProtoBuffer out, ByteBuffer events, IntToLongFunction numberAt) {
    int value = out.begin(ProtoBuffer.VALUE);
    int list = out.begin(FeastValues.INT64_LIST);
    if (events.capacity() > 0) {
      int numbers = out.begin(FeastValues.ELEMENTS);
      for (int at = 0; at < events.capacity(); at += events.getShort(at)) {
        out.putVarint(numberAt.applyAsLong(at));
      }
      out.end(numbers);
    }
    out.end(list);
    out.end(value);
  }

  /** Compares the event at {@code at} with another one, by time and then by id. */
  private static int compare(ByteBuffer events, int at, long timeMs, byte[] id) {
    int byTime = Long.compare(events.getLong(at + TIME), timeMs);
    int end = at + ID + events.getShort(at + ID_LENGTH);
    return byTime != 0 ? byTime : Arrays.compareUnsigned(events.array(), at + ID, end, id, 0, id.length);
  }

  private static byte[] packed(long timeMs, byte[] id, StringData itemId, StringData action, int outcome) {
    byte[] item = itemId.toBytes();
    byte[] what = action.toBytes();
    int length = ID + id.length + item.length + what.length;
    ByteBuffer event = ByteBuffer.allocate(length);
    event.putShort((short) length).putLong(timeMs).put((byte) outcome);
    event.putShort((short) id.length).putShort((short) item.length).put(id).put(item).put(what);
    return event.array();
  }

  /** Returns the first {@code end} bytes with {@code event} put in at {@code at}. */
  private static byte[] inserted(byte[] events, int at, int end, byte[] event) {
    byte[] grown = new byte[end + event.length];
    System.arraycopy(events, 0, grown, 0, at);
    System.arraycopy(event, 0, grown, at, event.length);
    System.arraycopy(events, at, grown, at + event.length, end - at);
    return grown;
  }
}
