package headrace.functions;

import org.apache.flink.table.annotation.ArgumentHint;
import org.apache.flink.table.annotation.ArgumentTrait;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.annotation.StateHint;
import org.apache.flink.table.api.dataview.MapView;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.functions.ProcessTableFunction;

/**
 * Events with the categories of their item, as signed changes: an event goes out with the categories known by then; when
 * an item's categories change, its events of the last {@code keepMs} are taken back ({@code sign} -1) and sent anew.
 *
 * <p>So an event ends with what the newest record says that came {@code keepMs} after it at the latest, by the broker's
 * times, and where there is none with what the first record says that named categories. What arrives first does not matter:
 * an item's superseded records are known too ({@link CategoryPast}), and a replay forgets no event that it reads.
 *
 * <p>A join that keeps both sides says the same. On the heap it clears away expired rows of whole items at a time, five
 * items an event, so that its cost grows with the events remembered: it was a fifth of the job at 20 events an item. Here
 * an item's events lie packed in a few runs ({@link EventRuns}), which are cheap to extend, to expire and to save.
 */
@FunctionHint(
    output =
        @DataTypeHint(
            value =
                "ROW<event_id STRING, user_id STRING, `action` STRING, event_time_ms BIGINT, `value` DOUBLE, outcome INT,"
                    + " categories ARRAY<STRING>, sign INT>",
            bridgedTo = RowData.class))
public class CategorizeEvents extends ProcessTableFunction<RowData> {

  /** What an item's newest record says, the broker time of the first that said so, and what those before it said. */
  public static class Item {
    @DataTypeHint(value = "ARRAY<STRING>", bridgedTo = ArrayData.class)
    public ArrayData categories = null;

    public long sinceMs = 0;

    @DataTypeHint("BYTES")
    public byte[] earlier = CategoryPast.NONE;
  }

  /**
   * How many runs an item's events lie in, and the newest events, which lie in none yet. Kept as long as the item: with
   * retention each of the two accesses an event would look at five other items for what expired, to save 1 KB a silent
   * one.
   */
  public static class Runs {
    public int count = 0;

    @DataTypeHint("BYTES")
    public byte[] tail = new byte[0];
  }

  /**
   * Takes an event or an item record; the other one is null.
   *
   * @param keepMs how long before an item record its events still move, by the broker's times
   */
  public void eval(
      @StateHint(name = "item", ttl = "0 ms") Item item,
      @StateHint(name = "runs", ttl = "0 ms") Runs runs,
      @StateHint(name = "events_kept") MapView<Integer, byte[]> kept,
      @ArgumentHint(
              name = "events",
              value = ArgumentTrait.SET_SEMANTIC_TABLE,
              type =
                  @DataTypeHint(
                      value =
                          "ROW<item_id STRING, event_id STRING, user_id STRING, `action` STRING, event_time_ms BIGINT,"
                              + " `value` DOUBLE, outcome INT, record_time_ms BIGINT>",
                      bridgedTo = RowData.class))
          RowData event,
      @ArgumentHint(
              name = "items",
              value = ArgumentTrait.SET_SEMANTIC_TABLE,
              type =
                  @DataTypeHint(
                      value = "ROW<item_id STRING, categories ARRAY<STRING>, record_time_ms BIGINT>",
                      bridgedTo = RowData.class))
          RowData record,
      @ArgumentHint(name = "keep_ms", value = ArgumentTrait.SCALAR) Long keepMs)
      throws Exception {
    if (event != null) {
      long recordMs = event.getLong(7);
      EventRuns.add(kept, runs, event, droppedBefore(recordMs, keepMs));
      collect(change(event, categoriesAt(item, recordMs + keepMs), 1));
    } else {
      recategorize(item, runs.tail, kept, record, keepMs);
    }
  }

  /** Returns before which broker time events may be dropped: none in a replay, whose item records may be still to come. */
  private static long droppedBefore(long recordMs, long keepMs) {
    return recordMs + keepMs < System.currentTimeMillis() ? Long.MIN_VALUE : recordMs - keepMs;
  }

  private static ArrayData categoriesAt(Item item, long limitMs) {
    boolean isNewest = item.earlier.length == 0 || item.sinceMs <= limitMs;
    return isNewest ? item.categories : CategoryPast.at(item.earlier, limitMs);
  }

  private void recategorize(
      Item item, byte[] tail, MapView<Integer, byte[]> kept, RowData record, long keepMs) throws Exception {
    ArrayData before = item.categories;
    ArrayData now = record.isNullAt(1) ? null : Texts.copied(record.getArray(1));
    if (Texts.areEqual(before, now)) {
      return;
    }
    boolean isFirst = before == null && item.earlier.length == 0;
    if (!isFirst) {
      item.earlier = CategoryPast.with(item.earlier, item.sinceMs, before);
    }
    item.categories = now;
    item.sinceMs = record.getLong(2);
    EventRuns.forEach(
        kept,
        tail,
        record.getString(0),
        isFirst ? Long.MIN_VALUE : item.sinceMs - keepMs,
        event -> {
          collect(change(event, before, -1));
          collect(change(event, now, 1));
        });
  }

  private static RowData change(RowData event, ArrayData categories, int sign) {
    return GenericRowData.of(
        event.getString(1),
        event.getString(2),
        event.getString(3),
        event.getLong(4),
        event.isNullAt(5) ? null : event.getDouble(5),
        event.getInt(6),
        categories,
        sign);
  }
}
