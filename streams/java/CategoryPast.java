package headrace.functions;

import java.nio.ByteBuffer;
import java.util.Arrays;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.StringData;

/**
 * What an item's superseded records said, packed, oldest first: for events that are read long after them, in a replay.
 *
 * <p>An entry is its length (4), the broker time from which on it held (8), how many categories it has (4, -1 for none
 * said), and each as a length (4) and UTF-8. The newest {@link #MAX_CHANGES} are kept.
 */
final class CategoryPast {
  static final byte[] NONE = {};

  static final int MAX_CHANGES = 16;

  private static final int HEAD = Integer.BYTES + Long.BYTES + Integer.BYTES;

  private CategoryPast() {}

  /** Returns a past with one more entry behind it; {@code past} is left as it is. */
  static byte[] with(byte[] past, long sinceMs, ArrayData categories) {
    int from = count(past) < MAX_CHANGES ? 0 : ByteBuffer.wrap(past).getInt(0);
    byte[] entry = packed(sinceMs, categories);
    byte[] all = Arrays.copyOfRange(past, from, past.length + entry.length);
    System.arraycopy(entry, 0, all, past.length - from, entry.length);
    return all;
  }

  /** Returns what the newest entry since {@code limitMs} or earlier says, where there is none the oldest. */
  static ArrayData at(byte[] past, long limitMs) {
    ByteBuffer entries = ByteBuffer.wrap(past);
    int found = 0;
    for (int at = 0; at < past.length; at += entries.getInt(at)) {
      found = entries.getLong(at + Integer.BYTES) <= limitMs ? at : found;
    }
    return categories(entries.position(found + Integer.BYTES + Long.BYTES));
  }

  private static int count(byte[] past) {
    int count = 0;
    for (int at = 0; at < past.length; at += ByteBuffer.wrap(past).getInt(at)) {
      count++;
    }
    return count;
  }

  private static byte[] packed(long sinceMs, ArrayData categories) {
    byte[][] texts = new byte[categories == null ? 0 : categories.size()][];
    int length = HEAD;
    for (int index = 0; index < texts.length; index++) {
      texts[index] = categories.isNullAt(index) ? null : categories.getString(index).toBytes();
      length += Integer.BYTES + (texts[index] == null ? 0 : texts[index].length);
    }
    ByteBuffer entry = ByteBuffer.allocate(length);
    entry.putInt(length).putLong(sinceMs).putInt(categories == null ? -1 : texts.length);
    for (byte[] text : texts) {
      entry.putInt(text == null ? -1 : text.length).put(text == null ? NONE : text);
    }
    return entry.array();
  }

  private static ArrayData categories(ByteBuffer entry) {
    int count = entry.getInt();
    if (count < 0) {
      return null;
    }
    Object[] texts = new Object[count];
    for (int index = 0; index < count; index++) {
      int length = entry.getInt();
      if (length >= 0) {
        byte[] text = new byte[length];
        entry.get(text);
        texts[index] = StringData.fromBytes(text);
      }
    }
    return new GenericArrayData(texts);
  }
}
