package headrace.functions;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.binary.BinaryStringData;
import org.apache.flink.table.functions.AggregateFunction;

/**
 * A user's forward-decayed events, positives and negatives per category: the strongest categories, newest epoch, then
 * most events, first.
 *
 * <p>An event whose item changed its categories comes again with {@code sign} -1. Events are counted beside the sums, so
 * that a category whose last event went leaves nothing behind, whatever rounding left in its sums.
 */
@FunctionHint(
    output =
        @DataTypeHint(
            value = "ROW<names ARRAY<STRING>, counts ARRAY<DOUBLE NOT NULL>>",
            bridgedTo = RowData.class))
public class CategorySums extends AggregateFunction<RowData, CategorySums.Sums> {
  private static final int AMOUNTS = 4;
  private static final int COUNTED = 3;
  private static final int WIDTH = EpochSums.width(AMOUNTS);
  private static final int SENT = EpochSums.width(COUNTED);

  /** Names, and {@code WIDTH} numbers for each: a span of events, positives, negatives and unweighted events. */
  public static class Sums {
    @DataTypeHint(value = "ARRAY<STRING>", bridgedTo = ArrayData.class)
    public ArrayData names = new GenericArrayData(new Object[0]);

    @DataTypeHint("ARRAY<DOUBLE NOT NULL>")
    public double[] numbers = new double[0];

    /** How many categories a row shows. */
    public int limit = 0;
  }

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
    for (int index = 0; index < categories.size(); index++) {
      int at = categories.isNullAt(index) ? -1 : placeOf(sums, categories.getString(index), sign > 0);
      if (at >= 0) {
        EpochSums.add(sums.numbers, at * WIDTH, timeMs / epochMs, weight, amounts);
      }
    }
    if (sign < 0) {
      dropEmpty(sums);
    }
  }

  @Override
  public RowData getValue(Sums sums) {
    int size = sums.names.size();
    Integer[] order = new Integer[size];
    Arrays.setAll(order, index -> index);
    Arrays.sort(order, (left, right) -> compare(sums, left, right));
    int shown = Math.min(size, sums.limit);
    Object[] names = new Object[shown];
    double[] counts = new double[shown * SENT];
    for (int place = 0; place < shown; place++) {
      int from = order[place] * WIDTH;
      names[place] = sums.names.getString(order[place]);
      System.arraycopy(sums.numbers, from, counts, place * SENT, 1 + COUNTED);
      System.arraycopy(sums.numbers, from + 1 + AMOUNTS, counts, place * SENT + 1 + COUNTED, COUNTED);
    }
    return GenericRowData.of(new GenericArrayData(names), new GenericArrayData(counts));
  }

  private static int compare(Sums sums, int left, int right) {
    int byEpoch = Double.compare(sums.numbers[right * WIDTH], sums.numbers[left * WIDTH]);
    // As floats: the last digits of equal sums depend on the order of additions, and must not choose.
    int byEvents = Float.compare((float) sums.numbers[right * WIDTH + 1], (float) sums.numbers[left * WIDTH + 1]);
    if (byEpoch != 0 || byEvents != 0) {
      return byEpoch != 0 ? byEpoch : byEvents;
    }
    return Texts.compare(sums.names.getString(left), sums.names.getString(right));
  }

  /**
   * Returns where a category stands, appending it where {@code isAnew} and its name is one; else -1 for an unknown one:
   * what an event added may be gone already, epochs ago, and must not be taken back from nothing.
   */
  private static int placeOf(Sums sums, StringData name, boolean isAnew) {
    int size = sums.names.size();
    for (int index = 0; index < size; index++) {
      if (sums.names.getString(index).equals(name)) {
        return index;
      }
    }
    if (!isAnew || !CheckEvent.isId(name.toString())) {
      return -1;
    }
    Object[] names = new Object[size + 1];
    for (int index = 0; index < size; index++) {
      names[index] = sums.names.getString(index);
    }
    names[size] = ((BinaryStringData) name).copy();
    sums.names = new GenericArrayData(names);
    sums.numbers = Arrays.copyOf(sums.numbers, (size + 1) * WIDTH);
    return size;
  }

  private static void dropEmpty(Sums sums) {
    List<Object> names = new ArrayList<>();
    double[] numbers = new double[sums.numbers.length];
    int size = sums.names.size();
    for (int index = 0; index < size; index++) {
      int from = index * WIDTH;
      if (Math.round(sums.numbers[from + AMOUNTS]) == 0 && Math.round(sums.numbers[from + 2 * AMOUNTS]) == 0) {
        continue;
      }
      System.arraycopy(sums.numbers, from, numbers, names.size() * WIDTH, WIDTH);
      names.add(sums.names.getString(index));
    }
    if (names.size() < size) {
      sums.names = new GenericArrayData(names.toArray());
      sums.numbers = Arrays.copyOf(numbers, names.size() * WIDTH);
    }
  }
}
