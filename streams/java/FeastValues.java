package headrace.functions;

import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.types.logical.ArrayType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.LogicalTypeRoot;

/**
 * Lists as Feast keeps them: {@code Value} of protos/online_rows.proto, in the one form that {@code features/feast_rows.py}
 * writes too. An empty list is a list message of no bytes.
 */
final class FeastValues {
  static final ArrayData NONE = new GenericArrayData(new Object[0]);
  static final int STRING_LIST = ProtoBuffer.lengthTag(12);
  static final int INT64_LIST = ProtoBuffer.lengthTag(14);
  static final int DOUBLE_LIST = ProtoBuffer.lengthTag(15);
  static final int ELEMENTS = ProtoBuffer.lengthTag(1);

  private FeastValues() {}

  /** Puts a list. */
  interface Writer {
    void put(ProtoBuffer out, ArrayData array);
  }

  /** Returns the writer of a column; texts and numbers of lists are never null. */
  static Writer writerOf(LogicalType column) {
    if (column.getTypeRoot() == LogicalTypeRoot.ARRAY) {
      switch (((ArrayType) column).getElementType().getTypeRoot()) {
        case DOUBLE:
          return FeastValues::putDoubles;
        case BIGINT:
          return FeastValues::putLongs;
        case VARCHAR:
          return FeastValues::putStrings;
        default:
      }
    }
    throw new IllegalArgumentException("headrace-row writes lists of STRING, BIGINT and DOUBLE, not " + column);
  }

  static void putDoubles(ProtoBuffer out, ArrayData array) {
    int list = out.begin(DOUBLE_LIST);
    if (array.size() > 0) {
      int numbers = out.begin(ELEMENTS);
      for (int at = 0; at < array.size(); at++) {
        out.putDouble(array.getDouble(at));
      }
      out.end(numbers);
    }
    out.end(list);
  }

  private static void putLongs(ProtoBuffer out, ArrayData array) {
    int list = out.begin(INT64_LIST);
    if (array.size() > 0) {
      int numbers = out.begin(ELEMENTS);
      for (int at = 0; at < array.size(); at++) {
        out.putVarint(array.getLong(at));
      }
      out.end(numbers);
    }
    out.end(list);
  }

  private static void putStrings(ProtoBuffer out, ArrayData array) {
    int list = out.begin(STRING_LIST);
    for (int at = 0; at < array.size(); at++) {
      out.putBytes(ELEMENTS, array.getString(at).toBytes());
    }
    out.end(list);
  }
}
