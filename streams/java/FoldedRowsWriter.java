package headrace.functions;

import java.io.IOException;
import java.io.Serializable;
import java.util.Collection;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.operators.ProcessingTimeService;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.connector.kafka.sink.TwoPhaseCommittingStatefulSink.PrecommittingStatefulSinkWriter;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.types.logical.RowType;

/**
 * Folds changes of one feature row into one message, for as long as its age allows: what is fresh waits {@code freshMs}, and
 * what says nothing newer than {@code oldAfterMs} ago waits {@code oldMs}, but only while more of its kind keeps coming. So a
 * backlog leaves one message a row and ten seconds in place of one an event, a late event alone waits a tenth of a second,
 * and live rows do not wait for either.
 *
 * <p>A checkpoint sends all that waits before it is taken, so nothing that it covers is unsent. A newer row of a key always
 * replaces the one that waits, whichever way it goes itself: rows of a key never change places.
 */
final class FoldedRowsWriter<S, C> implements PrecommittingStatefulSinkWriter<RowData, S, C> {
  private static final long TICK_MS = 20;

  /** So many ticks without an old row end a backlog. Counted, not timed: a pause of the collector is none. */
  private static final int QUIET_TICKS = 5;

  /** Of fresh rows, which wait for so short a time that more than these are no use. */
  private static final int MAX_FRESH = 5000;

  /** A waiting row shares its large values with the state: it keeps a kilobyte or so, a sixteenth of the heap at most. */
  private static final long MAX_OLD = Math.max(1000, Runtime.getRuntime().maxMemory() >> 14);

  private final PrecommittingStatefulSinkWriter<RowData, S, C> kafka;
  private final Rules rules;
  private final RowCopies copies;
  private final ProcessingTimeService clock;

  /** By entity; the one that has waited longest is the first. */
  private final Map<StringData, Waiting> fresh = new LinkedHashMap<>();

  private final Map<StringData, Waiting> old = new LinkedHashMap<>();
  private boolean isTicking;
  private boolean oldCame;
  private int quietTicks;

  /** How long rows wait: the entity is their first column, the newest event's time is {@code event_time_ms}. */
  record Rules(RowType rows, long freshMs, long oldAfterMs, long oldMs) implements Serializable {
    int timeAt() {
      return rows.getFieldIndex("event_time_ms");
    }
  }

  /** The newest row of an entity, and since when one waits. */
  private static final class Waiting implements SinkWriter.Context {
    private final long sinceMs;
    private RowData row;
    private Long timestamp;

    Waiting(long sinceMs) {
      this.sinceMs = sinceMs;
    }

    @Override
    public long currentWatermark() {
      return Long.MIN_VALUE;
    }

    @Override
    public Long timestamp() {
      return timestamp;
    }
  }

  FoldedRowsWriter(
      PrecommittingStatefulSinkWriter<RowData, S, C> kafka, Rules rules, ProcessingTimeService clock) {
    this.kafka = kafka;
    this.rules = rules;
    this.copies = new RowCopies(rules.rows());
    this.clock = clock;
  }

  @Override
  public void write(RowData row, Context context) throws IOException, InterruptedException {
    long nowMs = clock.getCurrentProcessingTime();
    StringData key = row.getString(0);
    if (rules.oldMs() > 0 && nowMs - row.getLong(rules.timeAt()) >= rules.oldAfterMs()) {
      oldCame = true;
      fresh.remove(key);
      keep(old, key, row, context, nowMs);
      sendDue(nowMs);
    } else {
      old.remove(key);
      if (rules.freshMs() == 0) {
        kafka.write(row, context);
        return;
      }
      keep(fresh, key, row, context, nowMs);
      if (fresh.size() >= MAX_FRESH) {
        sendAll(fresh);
      }
    }
    tickLater(nowMs);
  }

  private void keep(Map<StringData, Waiting> rows, StringData key, RowData row, Context context, long nowMs) {
    RowData copy = copies.of(row);
    Waiting waiting = rows.get(key);
    if (waiting == null) {
      waiting = new Waiting(nowMs);
      rows.put(copy.getString(0), waiting);
    }
    waiting.row = copy;
    waiting.timestamp = context.timestamp();
  }

  private void tickLater(long nowMs) {
    if (!isTicking && !(fresh.isEmpty() && old.isEmpty())) {
      isTicking = true;
      clock.registerTimer(nowMs + (rules.freshMs() > 0 ? rules.freshMs() : TICK_MS), this::tick);
    }
  }

  private void tick(long dueMs) throws IOException, InterruptedException {
    isTicking = false;
    sendAll(fresh);
    long nowMs = clock.getCurrentProcessingTime();
    quietTicks = oldCame ? 0 : quietTicks + 1;
    oldCame = false;
    if (quietTicks >= QUIET_TICKS) {
      sendAll(old);
    } else {
      sendDue(nowMs);
    }
    tickLater(nowMs);
  }

  private void sendDue(long nowMs) throws IOException, InterruptedException {
    Iterator<Waiting> longest = old.values().iterator();
    while (longest.hasNext()) {
      Waiting waiting = longest.next();
      if (nowMs - waiting.sinceMs < rules.oldMs() && old.size() <= MAX_OLD) {
        return;
      }
      kafka.write(waiting.row, waiting);
      longest.remove();
    }
  }

  private void sendAll(Map<StringData, Waiting> rows) throws IOException, InterruptedException {
    for (Waiting waiting : rows.values()) {
      kafka.write(waiting.row, waiting);
    }
    rows.clear();
  }

  @Override
  public void flush(boolean endOfInput) throws IOException, InterruptedException {
    sendAll(fresh);
    sendAll(old);
    kafka.flush(endOfInput);
  }

  @Override
  public List<S> snapshotState(long checkpointId) throws IOException {
    return kafka.snapshotState(checkpointId);
  }

  @Override
  public Collection<C> prepareCommit() throws IOException, InterruptedException {
    return kafka.prepareCommit();
  }

  @Override
  public void close() throws Exception {
    kafka.close();
  }
}
