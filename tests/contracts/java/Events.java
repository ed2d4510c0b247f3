package headrace.functions;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.apache.flink.table.data.RowData;
import org.apache.flink.util.Collector;

/**
 * Checks one record a line, in hexadecimal digits, and prints its fault, {@code -} where it is an event, and its value,
 * separated by a tab; for {@code tests/faults/event_fuzz.py}.
 */
public final class Events {
  private Events() {}

  /** Reads to the end. */
  public static void main(String[] arguments) throws IOException {
    PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    CheckEvent check = new CheckEvent();
    check.setCollector(
        new Collector<RowData>() {
          @Override
          public void collect(RowData row) {
            String fault = row.isNullAt(0) ? "-" : row.getString(0).toString();
            out.println(fault + "\t" + (row.isNullAt(6) ? "-" : row.getDouble(6)));
          }

          @Override
          public void close() {}
        });
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      check.eval(HexFormat.of().parseHex(line));
    }
    out.flush();
  }
}
