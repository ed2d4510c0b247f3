package headrace.functions;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ScheduledFuture;
import org.apache.flink.api.common.operators.ProcessingTimeService;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.connector.kafka.sink.TwoPhaseCommittingStatefulSink.PrecommittingStatefulSinkWriter;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.binary.BinaryStringData;
import org.apache.flink.table.types.logical.BigIntType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.VarCharType;

/**
 * Drives a {@link FoldedRowsWriter} by a clock that stands still between lines: {@code write KEY VALUE AGE_MS},
 * {@code wait MS}, {@code flush} on standard input; what Kafka would get goes out as {@code NOW_MS KEY VALUE}.
 * Arguments: freshMs, oldAfterMs, oldMs.
 */
public final class WriteRows
    implements PrecommittingStatefulSinkWriter<RowData, Object, Object>, ProcessingTimeService {
  private final TreeMap<Long, ProcessingTimeCallback> timers = new TreeMap<>();
  private long nowMs = 1_000_000;

  public static void main(String[] arguments) throws Exception {
    LogicalType[] types = {new VarCharType(), new BigIntType(), new BigIntType()};
    RowType rows = RowType.of(types, new String[] {"entity_id", "value", "event_time_ms"});
    long[] times = List.of(arguments).stream().mapToLong(Long::parseLong).toArray();
    WriteRows test = new WriteRows();
    test.run(new FoldedRowsWriter<>(test, new FoldedRowsWriter.Rules(rows, times[0], times[1], times[2]), test));
  }

  private void run(FoldedRowsWriter<Object, Object> writer) throws Exception {
    // One object for all rows, as the job hands them over.
    GenericRowData row = new GenericRowData(3);
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      String[] words = line.split(" ");
      switch (words[0]) {
        case "write" -> {
          row.setField(0, BinaryStringData.fromString(words[1]));
          row.setField(1, Long.parseLong(words[2]));
          row.setField(2, nowMs - Long.parseLong(words[3]));
          writer.write(row, new At());
        }
        case "wait" -> waitFor(Long.parseLong(words[1]));
        case "flush" -> writer.flush(false);
        default -> throw new IllegalArgumentException(line);
      }
    }
  }

  private void waitFor(long ms) throws Exception {
    long until = nowMs + ms;
    while (!timers.isEmpty() && timers.firstKey() <= until) {
      Map.Entry<Long, ProcessingTimeCallback> timer = timers.pollFirstEntry();
      nowMs = Math.max(nowMs, timer.getKey());
      timer.getValue().onProcessingTime(timer.getKey());
    }
    nowMs = until;
  }

  private record At() implements SinkWriter.Context {
    @Override
    public long currentWatermark() {
      return 0;
    }

    @Override
    public Long timestamp() {
      return null;
    }
  }

  @Override
  public void write(RowData row, SinkWriter.Context context) {
    System.out.println(nowMs - 1_000_000 + " " + row.getString(0) + " " + row.getLong(1));
  }

  @Override
  public void flush(boolean endOfInput) {
    System.out.println(nowMs - 1_000_000 + " flushed");
  }

  @Override
  public long getCurrentProcessingTime() {
    return nowMs;
  }

  @Override
  public ScheduledFuture<?> registerTimer(long timestamp, ProcessingTimeCallback target) {
    timers.put(timestamp, target);
    return null;
  }

  @Override
  public List<Object> snapshotState(long checkpointId) throws IOException {
    return List.of();
  }

  @Override
  public Collection<Object> prepareCommit() {
    return List.of();
  }

  @Override
  public void close() {}
}
