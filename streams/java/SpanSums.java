package headrace.functions;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.functions.AggregateFunction;

/** What {@link DecayedSums} and {@link WindowedSums} share: spans of {@link EpochSums}, laid end to end. */
public abstract class SpanSums extends AggregateFunction<double[], SpanSums.Sums> {
  private transient String known;
  private transient double[] parsed;
  private transient double[] numbers;

  /** The spans as {@link PackedDoubles}; empty before the first amount. */
  public static class Sums {
    @DataTypeHint("BYTES")
    public byte[] packed = new byte[0];
  }

  @Override
  public Sums createAccumulator() {
    return new Sums();
  }

  @Override
  public @DataTypeHint("ARRAY<DOUBLE NOT NULL>") double[] getValue(Sums sums) {
    double[] value = new double[sums.packed.length / Double.BYTES];
    PackedDoubles.unpack(sums.packed, 0, value);
    return value;
  }

  /** Returns the numbers of {@code spans} spans, to be changed and given to {@link #keep} before the next call. */
  final double[] numbersOf(Sums sums, int spans, int amounts) {
    int length = spans * EpochSums.width(amounts);
    if (numbers == null || numbers.length != length) {
      numbers = new double[length];
    }
    if (sums.packed.length == 0) {
      sums.packed = new byte[length * Double.BYTES];
    }
    PackedDoubles.unpack(sums.packed, 0, numbers);
    return numbers;
  }

  /** Keeps what {@link #numbersOf} returned. */
  final void keep(Sums sums, double[] changed) {
    PackedDoubles.pack(changed, sums.packed, 0);
  }

  /** Returns the numbers of a list separated by commas; the same list is parsed once. */
  final double[] parsed(String list) {
    if (!list.equals(known)) {
      String[] texts = list.split(",");
      parsed = new double[texts.length];
      for (int index = 0; index < texts.length; index++) {
        parsed[index] = Double.parseDouble(texts[index]);
      }
      known = list;
    }
    return parsed;
  }
}
