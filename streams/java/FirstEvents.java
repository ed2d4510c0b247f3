package headrace.functions;

import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.table.annotation.ArgumentHint;
import org.apache.flink.table.annotation.ArgumentTrait;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.annotation.StateHint;
import org.apache.flink.table.api.dataview.MapView;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ProcessTableFunction;

/**
 * Of rows with one event_id the first, all of its columns; later ones within {@code keepMs} of it are dropped, by this
 * machine's clock and the broker's times together ({@link EventIds#added}). The table comes partitioned by the {@link EventIds#bucketOf bucket} of the event_id.
 *
 * <p>Flink's own deduplication keeps an entry of 250 bytes an id and looks through five others for what expired at each
 * access: that was a sixth of the feature job. Here the ids of a bucket lie packed in one value ({@link EventIds}).
 *
 * <p>Counts, as Flink metrics of the operator, the rows that it dropped and those whose time was set back to the limit.
 */
@FunctionHint(output = @DataTypeHint(value = "ROW<`copy` INT>", bridgedTo = RowData.class))
public class FirstEvents extends ProcessTableFunction<RowData> {
  /** The only key of the state: a value of its own would be hashed twice an event, to see whether it changed. */
  private static final Integer ALL = 0;

  private static final RowData FIRST = GenericRowData.of(1);

  private transient Counter duplicates;
  private transient Counter clamped;

  @Override
  public void open(FunctionContext context) {
    MetricGroup metrics = context.getMetricGroup();
    duplicates = metrics.counter("duplicates");
    clamped = metrics.counter("clamped");
  }

  /**
   * Takes one row.
   *
   * @param keepMs how long an id is remembered, in whole seconds
   * @param aheadMs how far an event's time lies ahead of the broker's at most: what was further ahead was set to it
   */
  public void eval(
      @StateHint(name = "ids", ttl = "0 ms") MapView<Integer, byte[]> ids,
      @ArgumentHint(
              name = "events",
              value = {ArgumentTrait.SET_SEMANTIC_TABLE, ArgumentTrait.PASS_COLUMNS_THROUGH},
              // All columns of either job: a table of any columns would be turned into objects, row by row.
              type =
                  @DataTypeHint(
                      value =
                          "ROW<bucket INT, event_id STRING, user_id STRING, item_id STRING, `action` STRING,"
                              + " `value` DOUBLE, request_id STRING, context_json STRING, event_time_ms BIGINT,"
                              + " outcome INT, record_time_ms BIGINT, topic STRING, `partition` INT, `offset` BIGINT,"
                              + " `raw` BYTES>",
                      bridgedTo = RowData.class))
          RowData event,
      @ArgumentHint(name = "keep_ms", value = ArgumentTrait.SCALAR) Long keepMs,
      @ArgumentHint(name = "ahead_ms", value = ArgumentTrait.SCALAR) Long aheadMs)
      throws Exception {
    long recordMs = event.getLong(10);
    byte[] before = ids.get(ALL);
    byte[] now =
        EventIds.added(
            before == null ? EventIds.NONE : before,
            event.getString(1).toBytes(),
            System.currentTimeMillis() / 1000,
            recordMs / 1000,
            keepMs / 1000);
    if (now == null) {
      duplicates.inc();
      return;
    }
    ids.put(ALL, now);
    if (event.getLong(8) - recordMs >= aheadMs) {
      clamped.inc();
    }
    collect(FIRST);
  }
}
