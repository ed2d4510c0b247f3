package headrace.functions;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.security.GeneralSecurityException;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;

/** The keys of request tokens as {@code features/request_keys.py} writes them, read again when their file changes. */
final class RequestKeys {
  private static final long LOOK_EVERY_NANOS = 1_000_000_000L;

  /** A key, and until when it signed: {@code Long.MAX_VALUE} for the newest. */
  record Key(Mac mac, long untilMs) {}

  private final Path path;
  private Map<String, Key> keys = Map.of();
  private long sinceMs;
  private FileTime modified;
  private Object file;
  private long lookedAt;

  /** Reads the keys; throws where there are none to be had, as then nothing can be said of any token. */
  RequestKeys(String path) {
    this.path = Path.of(path);
    lookedAt = System.nanoTime();
    try {
      read();
    } catch (IOException | GeneralSecurityException | RuntimeException error) {
      throw new IllegalStateException("cannot use the request keys in " + path + ": " + error.getMessage(), error);
    }
  }

  /** Returns the key of an id, null where nobody has it: a new key's first token is not there before its key. */
  Key find(String id) {
    if (!keys.containsKey(id) || System.nanoTime() - lookedAt >= LOOK_EVERY_NANOS) {
      look();
    }
    return keys.get(id);
  }

  /** Returns from when on events need a token. */
  long sinceMs() {
    return sinceMs;
  }

  /** Reads the file where it changed; one that cannot be used leaves the keys as they were. */
  private void look() {
    lookedAt = System.nanoTime();
    try {
      var attributes = Files.readAttributes(path, BasicFileAttributes.class);
      if (!attributes.lastModifiedTime().equals(modified) || !Objects.equals(attributes.fileKey(), file)) {
        read();
      }
    } catch (IOException | GeneralSecurityException | RuntimeException error) {
      // The server's metric `headrace_request_keys_stale` and log tell of such a file.
    }
  }

  private void read() throws IOException, GeneralSecurityException {
    var attributes = Files.readAttributes(path, BasicFileAttributes.class);
    JsonNode document = new ObjectMapper().readTree(Files.readAllBytes(path));
    Map<String, Key> read = new HashMap<>();
    long untilMs = Long.MAX_VALUE;
    for (JsonNode key : document.get("keys")) {
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(new SecretKeySpec(Base64.getUrlDecoder().decode(key.get("secret").asText()), "HmacSHA256"));
      read.put(key.get("id").asText(), new Key(mac, untilMs));
      untilMs = key.get("created_ms").asLong();
    }
    if (read.isEmpty()) {
      throw new IOException("it holds no key");
    }
    sinceMs = document.get("since_ms").asLong();
    keys = read;
    modified = attributes.lastModifiedTime();
    file = attributes.fileKey();
  }
}
