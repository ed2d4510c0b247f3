package headrace.functions;

import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
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
 * The sink format {@code headrace-row}: rows of feature tables, by {@link FeatureRows}.
 *
 * <p>The option {@code packed} names columns of BYTES that hold several values: {@code
 * 'history:events,affinity:categories'}.
 */
public class FeatureRowFormat implements SerializationFormatFactory {
  private static final ConfigOption<Map<String, String>> PACKED =
      ConfigOptions.key("packed").mapType().defaultValue(Map.of());

  @Override
  public String factoryIdentifier() {
    return "headrace-row";
  }

  @Override
  public Set<ConfigOption<?>> requiredOptions() {
    return Set.of();
  }

  @Override
  public Set<ConfigOption<?>> optionalOptions() {
    return Set.of(PACKED);
  }

  @Override
  public EncodingFormat<SerializationSchema<RowData>> createEncodingFormat(
      DynamicTableFactory.Context context, ReadableConfig options) {
    FactoryUtil.validateFactoryOptions(this, options);
    Map<String, FeatureRows.Packing> packed = new HashMap<>();
    options.get(PACKED).forEach(
        (column, kind) -> packed.put(column, FeatureRows.Packing.valueOf(kind.toUpperCase(Locale.ROOT))));
    return new EncodingFormat<>() {
      @Override
      public SerializationSchema<RowData> createRuntimeEncoder(DynamicTableSink.Context sink, DataType rows) {
        return new FeatureRows((RowType) rows.getLogicalType(), packed);
      }

      @Override
      public ChangelogMode getChangelogMode() {
        return ChangelogMode.insertOnly();
      }
    };
  }
}
