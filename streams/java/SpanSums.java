package headrace.functions;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.functions.AggregateFunction;

/** What {@link DecayedSums} and {@link WindowedSums} share: spans of {@link EpochSums}, laid end to end. */
public abstract class SpanSums extends AggregateFunction<double[], SpanSums.Sums> {
  private transient String known;
  private transient double[] numbers;

  /** The spans; empty before the first amount. */
  public static class Sums {
    @DataTypeHint("ARRAY<DOUBLE NOT NULL>")
    public double[] numbers = new double[0];
  }

  @Override
  public Sums createAccumulator() {
    return new Sums();
  }

  @Override
  public @DataTypeHint("ARRAY<DOUBLE NOT NULL>") double[] getValue(Sums sums) {
    return sums.numbers.clone();
  }

  /** Adds {@code amounts} at {@code weight} to span number {@code span} of {@code spans}. */
  final void add(Sums sums, int span, int spans, long epoch, double weight, Double[] amounts) {
    int width = EpochSums.width(amounts.length);
    if (sums.numbers.length == 0) {
      sums.numbers = new double[spans * width];
    }
    EpochSums.add(sums.numbers, span * width, epoch, weight, amounts);
  }

  /** Returns the numbers of a list separated by commas; the same list is parsed once. */
  final double[] parsed(String list) {
    if (!list.equals(known)) {
      String[] texts = list.split(",");
      numbers = new double[texts.length];
      for (int index = 0; index < texts.length; index++) {
        numbers[index] = Double.parseDouble(texts[index]);
      }
      known = list;
    }
    return numbers;
  }
}
