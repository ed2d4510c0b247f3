package headrace.functions;

import java.util.Arrays;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.functions.AggregateFunction;

/**
 * A user's forward-decayed events, positives and negatives per category: the strongest categories, newest epoch, then
 * most events, first.
 *
 * <p>An event whose item changed its categories comes again with {@code sign} -1. Events are counted beside the sums, so
 * that a category whose last event went leaves nothing behind, whatever rounding left in its sums.
 *
 * <p>Categories lie packed in one array of bytes, always in order: one event moves the few that it counts for. The array is
 * replaced, never changed, so that rows and snapshots may share it. A category is the length of its name (2), the name,
 * and {@code WIDTH} {@link PackedDoubles}. {@link FeatureRows} writes them.
 */
@FunctionHint(output = @DataTypeHint("BYTES"))
public class CategorySums extends AggregateFunction<byte[], CategorySums.Sums> {
  private static final int AMOUNTS = 4;
  private static final int WIDTH = EpochSums.width(AMOUNTS);
  private static final int NAME = Short.BYTES;

  /** Categories with a span of events, positives, negatives and unweighted events each. */
  public static class Sums {
    @DataTypeHint("BYTES")
    public byte[] packed = new byte[0];

    /** How many categories a row shows. */
    public int limit = 0;
  }

  private final double[] numbers = new double[WIDTH];

  @Override
  public Sums createAccumulator() {
    return new Sums();
  }

  /** Adds one event, or takes it back, for each category of its item. */
  public void accumulate(
      Sums sums,
      Double halfLifeMs,
      Integer limit,
      Long timeMs,
      Integer outcome,
      Integer sign,
      @DataTypeHint(value = "ARRAY<STRING>", bridgedTo = ArrayData.class) ArrayData categories) {
    sums.limit = limit;
    long epochMs = Math.round(DecayedSums.EPOCH_HALF_LIVES * halfLifeMs);
    double weight = Math.pow(2.0, (timeMs % epochMs) / halfLifeMs);
    double signed = sign;
    // The count must stay a whole number: what it is multiplied with is taken out before.
    Double[] amounts = {signed, outcome > 0 ? signed : 0.0, outcome < 0 ? signed : 0.0, signed / weight};
    byte[] packed = sums.packed.clone();
    for (int index = 0; index < categories.size(); index++) {
      if (categories.isNullAt(index)) {
        continue;
      }
      StringData name = categories.getString(index);
      byte[] bytes = name.toBytes();
      int at = placeOf(packed, bytes);
      if (at == packed.length) {
        // What an event added may be gone already, epochs ago, and must not be taken back from nothing.
        if (sign < 0 || !CheckEvent.isId(name.toString())) {
          continue;
        }
        packed = appended(packed, bytes);
      }
      int first = at + NAME + bytes.length;
      PackedDoubles.unpack(packed, first, numbers);
      EpochSums.add(numbers, 0, timeMs / epochMs, weight, amounts);
      PackedDoubles.pack(numbers, packed, first);
      settle(packed, at);
    }
    sums.packed = sign < 0 ? withoutEmpty(packed) : packed;
  }

  @Override
  public byte[] getValue(Sums sums) {
    int end = 0;
    for (int shown = 0; shown < sums.limit && end < sums.packed.length; shown++) {
      end = next(sums.packed, end);
    }
    return end == sums.packed.length ? sums.packed : Arrays.copyOf(sums.packed, end);
  }

  /** Puts the columns of packed categories: names, and a span of events, positives and negatives each. */
  static void putValues(ProtoBuffer out, byte[] packed) {
    int value = out.begin(ProtoBuffer.VALUE);
    int list = out.begin(FeastValues.STRING_LIST);
    for (int at = 0; at < packed.length; at = next(packed, at)) {
      out.putBytes(FeastValues.ELEMENTS, packed, at + NAME, nameLength(packed, at));
    }
    out.end(list);
    out.end(value);
    value = out.begin(ProtoBuffer.VALUE);
    list = out.begin(FeastValues.DOUBLE_LIST);
    if (packed.length > 0) {
      int numbers = out.begin(FeastValues.ELEMENTS);
      for (int at = 0; at < packed.length; at = next(packed, at)) {
        for (int index = 0; index < WIDTH; index++) {
          // The unweighted counts are for this class alone.
          if (index != AMOUNTS && index != 2 * AMOUNTS) {
            out.putDouble(number(packed, at, index));
          }
        }
      }
      out.end(numbers);
    }
    out.end(list);
    out.end(value);
  }

  private static int nameLength(byte[] packed, int at) {
    return (packed[at] & 0xff) << 8 | (packed[at + 1] & 0xff);
  }

  /** Returns where the category behind the one at {@code at} begins. */
  private static int next(byte[] packed, int at) {
    return at + NAME + nameLength(packed, at) + WIDTH * Double.BYTES;
  }

  private static double number(byte[] packed, int at, int index) {
    return PackedDoubles.get(packed, at + NAME + nameLength(packed, at) + index * Double.BYTES);
  }

  /** Returns where a category begins, or the end where it is unknown. */
  private static int placeOf(byte[] packed, byte[] name) {
    int at = 0;
    while (at < packed.length && compareName(packed, at, name, 0, name.length) != 0) {
      at = next(packed, at);
    }
    return at;
  }

  private static int compareName(byte[] packed, int at, byte[] name, int from, int to) {
    return Arrays.compareUnsigned(packed, at + NAME, at + NAME + nameLength(packed, at), name, from, to);
  }

  private static byte[] appended(byte[] packed, byte[] name) {
    int at = packed.length;
    byte[] grown = Arrays.copyOf(packed, at + NAME + name.length + WIDTH * Double.BYTES);
    grown[at] = (byte) (name.length >> 8);
    grown[at + 1] = (byte) name.length;
    System.arraycopy(name, 0, grown, at + NAME, name.length);
    return grown;
  }

  /** Moves the category at {@code at} to where it belongs among the others, which are in order. */
  private static void settle(byte[] packed, int at) {
    int length = next(packed, at) - at;
    int to = 0;
    while (to < packed.length && (to == at || compare(packed, to, at) < 0)) {
      to = next(packed, to);
    }
    byte[] moved = Arrays.copyOfRange(packed, at, at + length);
    if (to < at) {
      System.arraycopy(packed, to, packed, to + length, at - to);
      System.arraycopy(moved, 0, packed, to, length);
    } else if (to > at + length) {
      System.arraycopy(packed, at + length, packed, at, to - at - length);
      System.arraycopy(moved, 0, packed, to - length, length);
    }
  }

  private static int compare(byte[] packed, int left, int right) {
    int byEpoch = Double.compare(number(packed, right, 0), number(packed, left, 0));
    // As floats: the last digits of equal sums depend on the order of additions, and must not choose.
    int byEvents = Float.compare((float) number(packed, right, 1), (float) number(packed, left, 1));
    if (byEpoch != 0 || byEvents != 0) {
      return byEpoch != 0 ? byEpoch : byEvents;
    }
    return compareName(packed, left, packed, right + NAME, right + NAME + nameLength(packed, right));
  }

  private static byte[] withoutEmpty(byte[] packed) {
    byte[] kept = new byte[packed.length];
    int length = 0;
    for (int at = 0; at < packed.length; at = next(packed, at)) {
      if (Math.round(number(packed, at, AMOUNTS)) != 0 || Math.round(number(packed, at, 2 * AMOUNTS)) != 0) {
        System.arraycopy(packed, at, kept, length, next(packed, at) - at);
        length += next(packed, at) - at;
      }
    }
    return length == packed.length ? packed : Arrays.copyOf(kept, length);
  }
}
