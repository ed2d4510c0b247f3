package headrace.functions;

import java.util.Set;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.format.EncodingFormat;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DynamicTableFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.factories.SerializationFormatFactory;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.RowType;

/**
 * The sink format {@code headrace-json}: what Flink's {@code json} writes, by {@link RowJson}.
 *
 * <p>The option {@code encode.ignore-null-fields} leaves absent fields out, as there.
 */
public class RowJsonFormat implements SerializationFormatFactory {
  private static final ConfigOption<Boolean> IGNORE_NULL_FIELDS =
      ConfigOptions.key("encode.ignore-null-fields").booleanType().defaultValue(false);

  @Override
  public String factoryIdentifier() {
    return "headrace-json";
  }

  @Override
  public Set<ConfigOption<?>> requiredOptions() {
    return Set.of();
  }

  @Override
  public Set<ConfigOption<?>> optionalOptions() {
    return Set.of(IGNORE_NULL_FIELDS);
  }

  @Override
  public EncodingFormat<SerializationSchema<RowData>> createEncodingFormat(
      DynamicTableFactory.Context context, ReadableConfig options) {
    FactoryUtil.validateFactoryOptions(this, options);
    boolean ignoresNulls = options.get(IGNORE_NULL_FIELDS);
    return new EncodingFormat<>() {
      @Override
      public SerializationSchema<RowData> createRuntimeEncoder(DynamicTableSink.Context sink, DataType rows) {
        return new RowJson((RowType) rows.getLogicalType(), ignoresNulls);
      }

      @Override
      public ChangelogMode getChangelogMode() {
        return ChangelogMode.insertOnly();
      }
    };
  }
}
