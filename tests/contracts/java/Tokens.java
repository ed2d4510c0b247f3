package headrace.functions;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;

/**
 * Reads {@code token request user item record_ms}, separated by tabs, an empty token for none, and prints for each whether
 * the token holds; for {@code test_request_tokens.py}. The arguments: the file of keys, and how many milliseconds a token
 * lives.
 */
public final class Tokens {
  private Tokens() {}

  /** Reads to the end. */
  public static void main(String[] arguments) throws IOException {
    TokenHolds function = new TokenHolds();
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      String[] fields = line.split("\t", -1);
      String token = fields[0].isEmpty() ? null : fields[0];
      Long recordMs = Long.parseLong(fields[4]);
      Long livesMs = Long.parseLong(arguments[1]);
      System.out.println(function.eval(token, fields[1], fields[2], fields[3], recordMs, arguments[0], livesMs));
    }
  }
}
