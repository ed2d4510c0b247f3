package headrace.functions;

import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * Ids of one bucket, packed in the order in which they came, so that those to forget stand in front.
 *
 * <p>An id is the second in which it came (4 bytes, unsigned), its length (1) and its UTF-8, of 128 bytes at most.
 */
final class EventIds {
  static final byte[] NONE = {};

  /**
   * How many buckets there are. With 10⁵ ids most stand alone, and cost what an entry of their own would; 10⁸ are 800 a
   * bucket, of which finding and copying costs some microseconds an event.
   */
  private static final int BUCKETS = 1 << 17;

  private static final int HEAD = Integer.BYTES + 1;
  private static final long UNSIGNED = 0xFFFFFFFFL;

  private EventIds() {}

  /** Returns the bucket of an id. State rests on it: another function of the id would find no id again. */
  static int bucketOf(String id) {
    // Fibonacci hashing: ids that count up differ in the lowest bits, the highest of the product hang on all.
    return (id.hashCode() * 0x9E3779B9) >>> Integer.numberOfLeadingZeros(BUCKETS - 1);
  }

  /**
   * Returns the bucket with an id added and without those that came more than {@code keepS} seconds before; null where the
   * id is in it already.
   *
   * <p>What lies behind, in a backlog after an outage or in one that is read slowly, ages nothing by the time that it lay
   * there: an id is forgotten once both this machine's clock and the broker's time of what is read are past its window.
   *
   * @param ids as returned before; left as it is
   * @param nowS this machine's clock
   * @param recordS the broker's time of the record that is read now
   */
  static byte[] added(byte[] ids, byte[] id, long nowS, long recordS, long keepS) {
    ByteBuffer packed = ByteBuffer.wrap(ids);
    long reachedS = Math.min(nowS, recordS);
    int start = 0;
    while (start < ids.length && (packed.getInt(start) & UNSIGNED) + keepS < reachedS) {
      start = next(ids, start);
    }
    for (int at = start; at < ids.length; at = next(ids, at)) {
      if (Arrays.equals(ids, at + HEAD, next(ids, at), id, 0, id.length)) {
        return null;
      }
    }
    int kept = ids.length - start;
    ByteBuffer all = ByteBuffer.allocate(kept + HEAD + id.length);
    all.put(ids, start, kept).putInt((int) nowS).put((byte) id.length).put(id);
    return all.array();
  }

  private static int next(byte[] ids, int at) {
    return at + HEAD + (ids[at + HEAD - 1] & 0xFF);
  }
}
