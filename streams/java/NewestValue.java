package headrace.functions;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.binary.BinaryStringData;
import org.apache.flink.table.functions.AggregateFunction;

/** The value of the newest event by (time, id) with its time: {@code [time_ms, value]}, zeros before the first. */
public class NewestValue extends AggregateFunction<double[], NewestValue.Newest> {

  /** The newest event so far. */
  public static class Newest {
    public long timeMs = 0;

    @DataTypeHint(value = "STRING", bridgedTo = StringData.class)
    public StringData id = StringData.fromString("");

    public double value = 0;
  }

  @Override
  public Newest createAccumulator() {
    return new Newest();
  }

  /** Takes one event. */
  public void accumulate(
      Newest newest,
      Long timeMs,
      @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData id,
      Double value) {
    if (timeMs > newest.timeMs || (timeMs == newest.timeMs && Texts.compare(id, newest.id) > 0)) {
      newest.timeMs = timeMs;
      // The argument lies in a buffer that the next record overwrites.
      newest.id = ((BinaryStringData) id).copy();
      newest.value = value;
    }
  }

  @Override
  public @DataTypeHint("ARRAY<DOUBLE NOT NULL>") double[] getValue(Newest newest) {
    return new double[] {newest.timeMs, newest.value};
  }
}
