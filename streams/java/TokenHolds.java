package headrace.functions;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.Base64;
import org.apache.flink.table.functions.ScalarFunction;

/**
 * Says whether a request token proves that this user was shown this item in the list of this request: signed by a key of
 * ours ({@code serving/security/request_tokens.py}), for this request_id and user_id, with this item, and not too old by
 * the broker's time of the event, which a replay does not change.
 */
public class TokenHolds extends ScalarFunction {
  private static final int PARTS = 6;
  private static final String VERSION = "1";
  private static final int ITEM_BYTES = 8;

  /** A server may sign with the key before the newest until it has looked at the file, by another machine's clock. */
  private static final long ROTATION_MS = 60_000;

  private transient RequestKeys keys;
  private transient MessageDigest sha256;

  /**
   * Returns whether it holds. A missing token does not, unless the event is from before there were keys.
   *
   * @param keysPath the file of keys, the same on every machine of the cluster
   */
  public boolean eval(
      String token,
      String requestId,
      String userId,
      String itemId,
      Long recordTimeMs,
      String keysPath,
      Long livesMs) {
    if (keys == null) {
      keys = new RequestKeys(keysPath);
    }
    if (recordTimeMs < keys.sinceMs()) {
      return true;
    }
    if (token == null || requestId == null || userId == null || itemId == null) {
      return false;
    }
    String[] parts = token.split("\\.", PARTS + 1);
    if (parts.length != PARTS || !parts[0].equals(VERSION)) {
      return false;
    }
    RequestKeys.Key key = keys.find(parts[1]);
    if (key == null) {
      return false;
    }
    try {
      String body = token.substring(0, token.lastIndexOf('.'));
      byte[] signed = (body + "\n" + requestId + "\n" + userId).getBytes(StandardCharsets.UTF_8);
      if (!MessageDigest.isEqual(key.mac().doFinal(signed), Base64.getUrlDecoder().decode(parts[5]))) {
        return false;
      }
      long servedMs = Long.parseLong(parts[2]);
      boolean isInTime = recordTimeMs - servedMs <= livesMs;
      boolean isOfItsKey = key.untilMs() == Long.MAX_VALUE || servedMs <= key.untilMs() + ROTATION_MS;
      return isInTime && isOfItsKey && holds(Base64.getUrlDecoder().decode(parts[4]), requestId, itemId);
    } catch (IllegalArgumentException error) {
      return false;
    }
  }

  private boolean holds(byte[] items, String requestId, String itemId) {
    byte[] digest = digest(requestId + "\n" + itemId);
    for (int at = 0; at + ITEM_BYTES <= items.length; at += ITEM_BYTES) {
      if (Arrays.equals(items, at, at + ITEM_BYTES, digest, 0, ITEM_BYTES)) {
        return true;
      }
    }
    return false;
  }

  private byte[] digest(String text) {
    try {
      if (sha256 == null) {
        sha256 = MessageDigest.getInstance("SHA-256");
      }
    } catch (NoSuchAlgorithmException error) {
      throw new IllegalStateException(error);
    }
    return sha256.digest(text.getBytes(StandardCharsets.UTF_8));
  }
}
