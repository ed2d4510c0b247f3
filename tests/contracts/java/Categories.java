package headrace.functions;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.flink.table.api.dataview.MapView;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.util.Collector;

/**
 * Reads what comes of one item and prints the changes that {@link CategorizeEvents} makes of it, for {@code
 * test_categories.py}.
 *
 * <p>Lines are separated by tabs: {@code event record_ms id} and {@code item record_ms categories}, separated by commas; an
 * empty line begins another item. A change is an id, a sign and categories, the item's end an empty line. The argument:
 * how long before an item record its events still move, in milliseconds.
 */
public final class Categories {
  private final CategorizeEvents function = new CategorizeEvents();
  private final CategorizeEvents.Item item = new CategorizeEvents.Item();
  private final CategorizeEvents.Runs runs = new CategorizeEvents.Runs();
  private final MapView<Integer, byte[]> kept = new MapView<>();

  private Categories() {
    function.setCollector(
        new Collector<RowData>() {
          @Override
          public void collect(RowData change) {
            System.out.println(change.getString(0) + "\t" + change.getInt(7) + "\t" + joined(change));
          }

          @Override
          public void close() {}
        });
  }

  /** Reads to the end. */
  public static void main(String[] arguments) throws Exception {
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    Categories categories = new Categories();
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      if (line.isEmpty()) {
        System.out.println();
        categories = new Categories();
      } else {
        categories.take(line.split("\t", -1), Long.valueOf(arguments[0]));
      }
    }
  }

  private void take(String[] fields, Long keepMs) throws Exception {
    StringData name = StringData.fromString("i");
    long recordMs = Long.parseLong(fields[1]);
    if (fields[0].equals("item")) {
      Object[] texts = Arrays.stream(fields[2].split(",")).map(StringData::fromString).toArray();
      ArrayData categories = fields[2].isEmpty() ? null : new GenericArrayData(texts);
      function.eval(item, runs, kept, null, GenericRowData.of(name, categories, recordMs), keepMs);
      return;
    }
    StringData id = StringData.fromString(fields[2]);
    StringData action = StringData.fromString("click");
    function.eval(item, runs, kept, GenericRowData.of(name, id, name, action, recordMs, null, 1, recordMs), null, keepMs);
  }

  private static String joined(RowData change) {
    if (change.isNullAt(6)) {
      return "";
    }
    ArrayData categories = change.getArray(6);
    String[] texts = new String[categories.size()];
    Arrays.setAll(texts, index -> categories.getString(index).toString());
    return String.join(",", texts);
  }
}
