package headrace.functions;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;

/**
 * Feeds the functions from standard input and prints what each made of it, for {@code test_java_twins.py}.
 *
 * <p>Lines are separated by tabs: {@code event time_ms id item_id outcome value sign categories} and {@code list time_ms
 * request_id item_ids}, the last field of each separated by commas; an empty line asks for the results and starts anew.
 * Histories and categories are printed as the packed columns of a row, in hexadecimal digits. Arguments: half-lives in
 * milliseconds, the longest of them, window in milliseconds, events, shown items and categories kept.
 */
public final class Twins {
  private final DecayedSums decayed = new DecayedSums();
  private final WindowedSums windowed = new WindowedSums();
  private final NewestEvents events = new NewestEvents();
  private final NewestShown shown = new NewestShown();
  private final NewestValue value = new NewestValue();
  private final CategorySums categories = new CategorySums();
  private final ApproxDistinct distinct = new ApproxDistinct();
  private final SpanSums.Sums decayedSums = decayed.createAccumulator();
  private final SpanSums.Sums windowedSums = windowed.createAccumulator();
  private final NewestEvents.Entries entries = events.createAccumulator();
  private final NewestShown.Lists lists = shown.createAccumulator();
  private final NewestValue.Newest newest = value.createAccumulator();
  private final CategorySums.Sums categorySums = categories.createAccumulator();
  private final ApproxDistinct.Registers registers = distinct.createAccumulator();
  private final String[] arguments;

  private Twins(String[] arguments) {
    this.arguments = arguments;
  }

  /** Reads to the end; prints one line a function, its name, then its texts and numbers, at each empty line. */
  public static void main(String[] arguments) throws IOException {
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    Twins twins = new Twins(arguments);
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      if (line.isEmpty()) {
        twins.print(out);
        twins = new Twins(arguments);
      } else {
        twins.take(line.split("\t", -1));
      }
    }
  }

  private void take(String[] fields) {
    long timeMs = Long.parseLong(fields[1]);
    StringData id = StringData.fromString(fields[2]);
    if (fields[0].equals("list")) {
      shown.accumulate(lists, Integer.valueOf(arguments[4]), timeMs, id, array(fields[3], true));
      return;
    }
    StringData itemId = StringData.fromString(fields[3]);
    int outcome = Integer.parseInt(fields[4]);
    double number = Double.parseDouble(fields[5]);
    int sign = Integer.parseInt(fields[6]);
    Double[] amounts = {1.0 * sign, outcome > 0 ? 1.0 * sign : 0.0, outcome < 0 ? 1.0 * sign : 0.0};
    decayed.accumulate(decayedSums, arguments[0], timeMs, amounts);
    windowed.accumulate(windowedSums, Long.valueOf(arguments[2]), timeMs, number * sign);
    Double longestMs = Double.valueOf(arguments[1]);
    ArrayData names = array(fields[7], false);
    categories.accumulate(categorySums, longestMs, Integer.valueOf(arguments[5]), timeMs, outcome, sign, names);
    if (sign > 0) {
      StringData action = StringData.fromString("click");
      events.accumulate(entries, Integer.valueOf(arguments[3]), timeMs, id, itemId, action, outcome);
      value.accumulate(newest, timeMs, id, number);
      distinct.accumulate(registers, itemId);
    }
  }

  private void print(PrintStream out) {
    RowData exposure = shown.getValue(lists);
    ProtoBuffer history = new ProtoBuffer();
    NewestEvents.putValues(history, events.getValue(entries));
    ProtoBuffer affinity = new ProtoBuffer();
    CategorySums.putValues(affinity, categories.getValue(categorySums));
    out.println("decayed\t" + numbers(decayed.getValue(decayedSums)));
    out.println("windowed\t" + numbers(windowed.getValue(windowedSums)));
    out.println("history\t" + HexFormat.of().formatHex(history.toBytes()));
    out.println("shown\t" + texts(exposure.getArray(0)) + "\t" + longs(exposure.getArray(1)));
    out.println("value\t" + numbers(value.getValue(newest)));
    out.println("categories\t" + HexFormat.of().formatHex(affinity.toBytes()));
    out.println("distinct\t" + distinct.getValue(registers));
    out.println();
  }

  private static ArrayData array(String list, boolean areRows) {
    String[] texts = list.isEmpty() ? new String[0] : list.split(",");
    return new GenericArrayData(
        Arrays.stream(texts)
            .map(StringData::fromString)
            .map(text -> areRows ? GenericRowData.of(text) : text)
            .toArray());
  }

  private static String texts(ArrayData array) {
    return IntStream.range(0, array.size()).mapToObj(at -> array.getString(at).toString()).collect(Collectors.joining(","));
  }

  private static String longs(ArrayData array) {
    return Arrays.stream(array.toLongArray()).mapToObj(Long::toString).collect(Collectors.joining(","));
  }

  private static String numbers(double[] values) {
    return Arrays.stream(values).mapToObj(Double::toString).collect(Collectors.joining(","));
  }
}
