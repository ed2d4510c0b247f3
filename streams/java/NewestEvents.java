package headrace.functions;

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
 * The newest N events by (time, id), newest first, whatever their order of arrival and however often one comes.
 *
 * <p>Columns lie oldest first in the accumulator, so that the usual event, the newest, is appended.
 */
@FunctionHint(
    output =
        @DataTypeHint(
            value =
                "ROW<item_ids ARRAY<STRING>, `actions` ARRAY<STRING>, event_times_ms ARRAY<BIGINT NOT NULL>,"
                    + " outcomes ARRAY<INT NOT NULL>>",
            bridgedTo = RowData.class))
public class NewestEvents extends AggregateFunction<RowData, NewestEvents.Entries> {

  /** Columns of equal length, oldest first. */
  public static class Entries {
    @DataTypeHint("ARRAY<BIGINT NOT NULL>")
    public long[] timesMs = new long[0];

    @DataTypeHint("ARRAY<INT NOT NULL>")
    public int[] outcomes = new int[0];

    @DataTypeHint(value = "ARRAY<STRING>", bridgedTo = ArrayData.class)
    public ArrayData ids = new GenericArrayData(new Object[0]);

    @DataTypeHint(value = "ARRAY<STRING>", bridgedTo = ArrayData.class)
    public ArrayData itemIds = new GenericArrayData(new Object[0]);

    @DataTypeHint(value = "ARRAY<STRING>", bridgedTo = ArrayData.class)
    public ArrayData actions = new GenericArrayData(new Object[0]);
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
    int size = entries.timesMs.length;
    int at = size;
    while (at > 0 && isBefore(timeMs, id, entries.timesMs[at - 1], entries.ids.getString(at - 1))) {
      at--;
    }
    // An event comes again when its item's categories change.
    if (at > 0 && entries.timesMs[at - 1] == timeMs && entries.ids.getString(at - 1).equals(id)) {
      return;
    }
    int drop = size >= limit ? 1 : 0;
    if (at < drop) {
      return;
    }
    entries.timesMs = inserted(entries.timesMs, at, drop, timeMs);
    entries.outcomes = inserted(entries.outcomes, at, drop, outcome);
    entries.ids = inserted(entries.ids, at, drop, id);
    entries.itemIds = inserted(entries.itemIds, at, drop, itemId);
    entries.actions = inserted(entries.actions, at, drop, action);
  }

  @Override
  public RowData getValue(Entries entries) {
    int size = entries.timesMs.length;
    long[] timesMs = new long[size];
    int[] outcomes = new int[size];
    for (int index = 0; index < size; index++) {
      timesMs[index] = entries.timesMs[size - 1 - index];
      outcomes[index] = entries.outcomes[size - 1 - index];
    }
    return GenericRowData.of(
        reversed(entries.itemIds), reversed(entries.actions), new GenericArrayData(timesMs), new GenericArrayData(outcomes));
  }

  private static boolean isBefore(long timeMs, StringData id, long otherMs, StringData otherId) {
    return timeMs < otherMs || (timeMs == otherMs && Texts.compare(id, otherId) < 0);
  }

  private static long[] inserted(long[] column, int at, int drop, long value) {
    long[] grown = new long[column.length + 1 - drop];
    System.arraycopy(column, drop, grown, 0, at - drop);
    grown[at - drop] = value;
    System.arraycopy(column, at, grown, at - drop + 1, column.length - at);
    return grown;
  }

  private static int[] inserted(int[] column, int at, int drop, int value) {
    int[] grown = new int[column.length + 1 - drop];
    System.arraycopy(column, drop, grown, 0, at - drop);
    grown[at - drop] = value;
    System.arraycopy(column, at, grown, at - drop + 1, column.length - at);
    return grown;
  }

  private static ArrayData inserted(ArrayData column, int at, int drop, StringData value) {
    Object[] old = texts(column);
    Object[] grown = new Object[old.length + 1 - drop];
    System.arraycopy(old, drop, grown, 0, at - drop);
    // The argument lies in a buffer that the next record overwrites.
    grown[at - drop] = ((BinaryStringData) value).copy();
    System.arraycopy(old, at, grown, at - drop + 1, old.length - at);
    return new GenericArrayData(grown);
  }

  private static ArrayData reversed(ArrayData column) {
    Object[] texts = texts(column);
    Object[] turned = new Object[texts.length];
    for (int index = 0; index < texts.length; index++) {
      turned[index] = texts[texts.length - 1 - index];
    }
    return new GenericArrayData(turned);
  }

  /** Returns the texts of a column; after a restore they lie in one buffer and are taken out of it. */
  private static Object[] texts(ArrayData column) {
    if (column instanceof GenericArrayData) {
      return ((GenericArrayData) column).toObjectArray();
    }
    Object[] texts = new Object[column.size()];
    for (int index = 0; index < texts.length; index++) {
      texts[index] = column.getString(index);
    }
    return texts;
  }
}
