package headrace.functions;

import java.util.Arrays;
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
}
