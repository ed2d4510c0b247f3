package headrace.functions;

import java.util.Arrays;
import java.util.Objects;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.StringData;

/** The one order of texts: by their UTF-8 bytes, unsigned, which is by code point, as Python has it. */
final class Texts {
  private Texts() {}

  /**
   * Compares two texts.
   *
   * <p>{@code StringData.compareTo} does the same for most texts, but compares by UTF-16 where both happen to have been
   * asked for their Java string before.
   */
  static int compare(StringData left, StringData right) {
    return Arrays.compareUnsigned(left.toBytes(), right.toBytes());
  }

  /** Returns a list of texts that shares no memory with an argument: that lies in a buffer which is used again. */
  static ArrayData copied(ArrayData texts) {
    Object[] copies = new Object[texts.size()];
    for (int index = 0; index < copies.length; index++) {
      copies[index] = texts.isNullAt(index) ? null : StringData.fromBytes(texts.getString(index).toBytes());
    }
    return new GenericArrayData(copies);
  }

  /** Says whether two lists, either of which may be null, hold the same texts in the same order. */
  static boolean areEqual(ArrayData left, ArrayData right) {
    if (left == null || right == null || left.size() != right.size()) {
      return left == right;
    }
    for (int index = 0; index < left.size(); index++) {
      StringData one = left.isNullAt(index) ? null : left.getString(index);
      StringData other = right.isNullAt(index) ? null : right.getString(index);
      if (!Objects.equals(one, other)) {
        return false;
      }
    }
    return true;
  }
}
