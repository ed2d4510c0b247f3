package headrace.functions;

import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.LogicalTypeRoot;
import org.apache.flink.table.types.logical.RowType;

/**
 * Writes rows of a feature table as {@code FeatureRow} of protos/features.proto: columns become the bytes that Feast keeps
 * of them, so that the ingester need not read them.
 *
 * <p>The first column is the entity, {@code event_time_ms} the newest time, and {@code features}, where there is one, a row
 * of declared features. Every other column is one value, or, where it is named as packed, those that its bytes hold.
 */
public class FeatureRows implements SerializationSchema<RowData> {
  private static final String EVENT_TIME = "event_time_ms";
  private static final String DECLARED = "features";

  private final RowType type;
  private final Map<String, Packing> packed;
  private transient ProtoBuffer out;
  private transient List<Column> columns;

  /** What packed the bytes of a column. */
  public enum Packing {
    /** {@link NewestEvents}: item ids, actions, times, outcomes. */
    EVENTS,
    /** {@link CategorySums}: names, counts. */
    CATEGORIES
  }

  /** Writes what one column of a row says. */
  private interface Column {
    void write(ProtoBuffer out, RowData row);
  }

  /**
   * Makes a writer.
   *
   * @param type of the table; columns that no feature has are refused
   * @param packed columns of BYTES, and what packed them
   */
  public FeatureRows(RowType type, Map<String, Packing> packed) {
    this.type = type;
    this.packed = packed;
    columnsOf(type);
  }

  @Override
  public byte[] serialize(RowData row) {
    if (out == null) {
      out = new ProtoBuffer();
      columns = columnsOf(type);
    }
    out.clear();
    for (Column column : columns) {
      column.write(out, row);
    }
    return out.toBytes();
  }

  private List<Column> columnsOf(RowType rows) {
    return IntStream.range(0, rows.getFieldCount()).mapToObj(at -> columnOf(rows, at)).toList();
  }

  private Column columnOf(RowType rows, int at) {
    String name = rows.getFieldNames().get(at);
    LogicalType kind = rows.getTypeAt(at);
    if (at == 0) {
      return (out, row) -> out.putBytes(ProtoBuffer.ENTITY_ID, row.getString(at).toBytes());
    }
    if (name.equals(EVENT_TIME)) {
      return (out, row) -> out.putVarint(ProtoBuffer.EVENT_TIME_MS, row.getLong(at));
    }
    if (name.equals(DECLARED)) {
      return declared(at, (RowType) kind);
    }
    if (packed.containsKey(name)) {
      return packed.get(name) == Packing.EVENTS
          ? (out, row) -> NewestEvents.putValues(out, row.isNullAt(at) ? new byte[0] : row.getBinary(at))
          : (out, row) -> CategorySums.putValues(out, row.isNullAt(at) ? new byte[0] : row.getBinary(at));
    }
    FeastValues.Writer value = FeastValues.writerOf(kind);
    return (out, row) -> {
      int start = out.begin(ProtoBuffer.VALUE);
      value.put(out, row.isNullAt(at) ? FeastValues.NONE : row.getArray(at));
      out.end(start);
    };
  }

  /** Returns the writer of a row of declared features, each an array of numbers by its name. */
  private static Column declared(int at, RowType features) {
    List<String> names = features.getFieldNames();
    for (LogicalType kind : features.getChildren()) {
      if (kind.getTypeRoot() != LogicalTypeRoot.ARRAY) {
        throw new IllegalArgumentException("a declared feature is an ARRAY<DOUBLE>, not " + kind);
      }
    }
    return (out, row) -> {
      if (row.isNullAt(at)) {
        return;
      }
      RowData values = row.getRow(at, names.size());
      for (int index = 0; index < names.size(); index++) {
        if (!values.isNullAt(index)) {
          int entry = out.begin(ProtoBuffer.DECLARED);
          out.putBytes(ProtoBuffer.MAP_KEY, ProtoBuffer.utf8(names.get(index)));
          int value = out.begin(ProtoBuffer.MAP_VALUE);
          FeastValues.putDoubles(out, values.getArray(index));
          out.end(value);
          out.end(entry);
        }
      }
    };
  }
}
