package headrace.functions;

import java.time.Duration;
import java.util.HashSet;
import java.util.Set;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.connector.kafka.sink.TwoPhaseCommittingStatefulSink;
import org.apache.flink.streaming.connectors.kafka.table.UpsertKafkaDynamicTableFactory;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.connector.sink.SinkV2Provider;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.types.logical.RowType;

/**
 * The connector {@code headrace-upsert-kafka}: Flink's {@code upsert-kafka} with changes of one row folded by {@link
 * FoldedRowsWriter}, which waits long only with what is old anyway. Flink's own folding has one interval for all rows: at 20
 * ms it folds no user, at 10 s nothing is fresh.
 */
public class FoldedKafka extends UpsertKafkaDynamicTableFactory {
  private static final ConfigOption<Duration> FRESH =
      ConfigOptions.key("fold.interval").durationType().defaultValue(Duration.ZERO);
  private static final ConfigOption<Duration> OLD_AFTER =
      ConfigOptions.key("fold.old-after").durationType().noDefaultValue();
  private static final ConfigOption<Duration> OLD =
      ConfigOptions.key("fold.old-interval").durationType().noDefaultValue();

  @Override
  public String factoryIdentifier() {
    return "headrace-upsert-kafka";
  }

  @Override
  public Set<ConfigOption<?>> requiredOptions() {
    Set<ConfigOption<?>> options = new HashSet<>(super.requiredOptions());
    options.addAll(Set.of(OLD_AFTER, OLD));
    return options;
  }

  @Override
  public Set<ConfigOption<?>> optionalOptions() {
    Set<ConfigOption<?>> options = new HashSet<>(super.optionalOptions());
    options.add(FRESH);
    return options;
  }

  @Override
  public DynamicTableSink createDynamicTableSink(Context context) {
    ReadableConfig options = FactoryUtil.createTableFactoryHelper(this, context).getOptions();
    RowType rows = (RowType) context.getPhysicalRowDataType().getLogicalType();
    FoldedRowsWriter.Rules rules =
        new FoldedRowsWriter.Rules(
            rows, options.get(FRESH).toMillis(), options.get(OLD_AFTER).toMillis(), options.get(OLD).toMillis());
    return new Table(super.createDynamicTableSink(context), rules);
  }

  /** Flink's table with our writer around its own. */
  private record Table(DynamicTableSink kafka, FoldedRowsWriter.Rules rules) implements DynamicTableSink {
    @Override
    public ChangelogMode getChangelogMode(ChangelogMode requested) {
      return kafka.getChangelogMode(requested);
    }

    @Override
    @SuppressWarnings("unchecked")
    public SinkRuntimeProvider getSinkRuntimeProvider(DynamicTableSink.Context context) {
      SinkV2Provider provider = (SinkV2Provider) kafka.getSinkRuntimeProvider(context);
      return SinkV2Provider.of(
          new FoldedRows<>((TwoPhaseCommittingStatefulSink<RowData, Object, Object>) provider.createSink(), rules),
          provider.getParallelism().orElse(null));
    }

    @Override
    public DynamicTableSink copy() {
      return new Table(kafka.copy(), rules);
    }

    @Override
    public String asSummaryString() {
      return kafka.asSummaryString() + ", folded";
    }
  }
}
