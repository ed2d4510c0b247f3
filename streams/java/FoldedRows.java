package headrace.functions;

import java.io.IOException;
import java.util.Collection;
import org.apache.flink.api.connector.sink2.Committer;
import org.apache.flink.api.connector.sink2.CommitterInitContext;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.connector.kafka.sink.TwoPhaseCommittingStatefulSink;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.table.data.RowData;

/** Kafka's sink, its writers inside {@link FoldedRowsWriter}s; all that it saves and commits stays its own. */
final class FoldedRows<S, C> implements TwoPhaseCommittingStatefulSink<RowData, S, C> {
  private final TwoPhaseCommittingStatefulSink<RowData, S, C> kafka;
  private final FoldedRowsWriter.Rules rules;

  FoldedRows(TwoPhaseCommittingStatefulSink<RowData, S, C> kafka, FoldedRowsWriter.Rules rules) {
    this.kafka = kafka;
    this.rules = rules;
  }

  @Override
  public PrecommittingStatefulSinkWriter<RowData, S, C> createWriter(WriterInitContext context) throws IOException {
    return new FoldedRowsWriter<>(kafka.createWriter(context), rules, context.getProcessingTimeService());
  }

  @Override
  public PrecommittingStatefulSinkWriter<RowData, S, C> restoreWriter(WriterInitContext context, Collection<S> saved)
      throws IOException {
    return new FoldedRowsWriter<>(kafka.restoreWriter(context, saved), rules, context.getProcessingTimeService());
  }

  @Override
  public SimpleVersionedSerializer<S> getWriterStateSerializer() {
    return kafka.getWriterStateSerializer();
  }

  @Override
  public Committer<C> createCommitter(CommitterInitContext context) throws IOException {
    return kafka.createCommitter(context);
  }

  @Override
  public SimpleVersionedSerializer<C> getCommittableSerializer() {
    return kafka.getCommittableSerializer();
  }
}
