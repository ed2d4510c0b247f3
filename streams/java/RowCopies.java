package headrace.functions;

import java.util.stream.IntStream;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.runtime.typeutils.InternalSerializers;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.LogicalTypeRoot;
import org.apache.flink.table.types.logical.RowType;

/**
 * Copies rows that are to be kept, as the one that a writer gets is used again for the next. Columns of BYTES are shared with
 * the state: what {@link NewestEvents} and {@link CategorySums} return is replaced there and never changed, and is most of a
 * row.
 */
final class RowCopies {
  private final RowData.FieldGetter[] fields;

  /** By column; null where a value is shared. */
  private final TypeSerializer<Object>[] copiers;

  @SuppressWarnings("unchecked")
  RowCopies(RowType rows) {
    int width = rows.getFieldCount();
    fields =
        IntStream.range(0, width)
            .mapToObj(at -> RowData.createFieldGetter(rows.getTypeAt(at), at))
            .toArray(RowData.FieldGetter[]::new);
    copiers = new TypeSerializer[width];
    for (int at = 0; at < width; at++) {
      LogicalType kind = rows.getTypeAt(at);
      copiers[at] = kind.getTypeRoot() == LogicalTypeRoot.VARBINARY ? null : InternalSerializers.create(kind);
    }
  }

  RowData of(RowData row) {
    GenericRowData copy = new GenericRowData(row.getRowKind(), fields.length);
    for (int at = 0; at < fields.length; at++) {
      Object value = fields[at].getFieldOrNull(row);
      copy.setField(at, value == null || copiers[at] == null ? value : copiers[at].copy(value));
    }
    return copy;
  }
}
