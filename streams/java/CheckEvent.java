package headrace.functions;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.functions.TableFunction;

/**
 * Parses one record of an events topic in one pass: its fields, and the reason why it is no event, null where it is one.
 * An event also has the {@link EventIds#bucketOf bucket} of its id, by which {@link FirstEvents} finds it again.
 *
 * <p>What depends on the app (known actions, the horizon) is checked in SQL behind it. Reasons, first match wins:
 * {@code too_large}; read from the front, {@code not_json} (not UTF-8, not exactly one JSON object) or {@code too_deep};
 * then field by field {@code missing_<field>} (null counts as missing) and {@code bad_<field>}. Of a name that stands
 * twice the last counts.
 */
@FunctionHint(
    output =
        @DataTypeHint(
            value =
                "ROW<fault STRING, event_id STRING, user_id STRING, item_id STRING, `action` STRING,"
                    + " event_time_ms BIGINT, `value` DOUBLE, request_id STRING, context_json STRING,"
                    + " request_token STRING, bucket INT>",
            bridgedTo = RowData.class))
public class CheckEvent extends TableFunction<RowData> {
  private static final int MAX_BYTES = 65_536;
  private static final int MAX_ID_BYTES = 128;
  private static final int MAX_DEPTH = 16;
  private static final int MAX_TIME_DIGITS = 18;

  /** Fields in the order in which faults are looked for; the first five must be there. */
  private static final String[] FIELDS = {
    "event_id", "user_id", "item_id", "action", "event_time_ms", "value", "request_id", "context", "request_token"
  };

  private static final int REQUIRED = 5;
  private static final int EVENT_ID = 0;
  private static final int EVENT_TIME = 4;
  private static final int VALUE = 5;
  private static final int REQUEST_ID = 6;
  private static final int CONTEXT = 7;
  private static final int REQUEST_TOKEN = 8;

  /** Of 500 items with an arm's name. */
  private static final int MAX_TOKEN_CHARS = 8192;

  /** In place of a field that is there but of no use. */
  private static final Object BAD = new Object();

  private transient JsonFactory json;

  /** Emits exactly one row for a record; {@code raw} is null for a tombstone. */
  public void eval(byte[] raw) {
    Object[] values = new Object[FIELDS.length];
    String fault = parsed(raw, values);
    for (int field = 0; fault == null && field < FIELDS.length; field++) {
      if (values[field] == BAD) {
        fault = "bad_" + FIELDS[field];
      } else if (values[field] == null && field < REQUIRED) {
        fault = "missing_" + FIELDS[field];
      }
    }
    GenericRowData row = new GenericRowData(1 + FIELDS.length + 1);
    row.setField(0, StringData.fromString(fault));
    for (int field = 0; field < FIELDS.length; field++) {
      row.setField(1 + field, values[field] == BAD ? null : values[field]);
    }
    row.setField(1 + FIELDS.length, fault == null ? EventIds.bucketOf(values[EVENT_ID].toString()) : null);
    collect(row);
  }

  /** Fills {@code values} and returns null, or returns why the record is no JSON object. */
  private String parsed(byte[] raw, Object[] values) {
    if (raw == null) {
      return "not_json";
    }
    if (raw.length > MAX_BYTES) {
      return "too_large";
    }
    if (!beginsAnObject(raw) || !isUtf8(raw)) {
      return "not_json";
    }
    if (json == null) {
      json = new JsonFactory();
    }
    try (JsonParser parser = json.createParser(raw)) {
      parser.nextToken();
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        int field = indexOf(parser.currentName());
        JsonToken token = parser.nextToken();
        if (field >= 0 && field != CONTEXT) {
          values[field] = token == JsonToken.VALUE_NULL ? null : valueOf(parser, token, field);
        }
        if (token.isStructStart()) {
          long start = parser.currentTokenLocation().getByteOffset();
          if (!skipsStructure(parser)) {
            return "too_deep";
          }
          if (field == CONTEXT) {
            long end = parser.currentLocation().getByteOffset();
            values[field] = token == JsonToken.START_OBJECT ? wrapped(raw, (int) start, (int) end) : BAD;
          }
        } else if (field == CONTEXT) {
          values[field] = token == JsonToken.VALUE_NULL ? null : BAD;
        }
      }
      if (parser.currentToken() != JsonToken.END_OBJECT || parser.nextToken() != null) {
        return "not_json";
      }
      return null;
    } catch (IOException | RuntimeException error) {
      return "not_json";
    }
  }

  /** Skips to the end of the structure that the parser stands at; false, on the way, where it is nested too deep. */
  private static boolean skipsStructure(JsonParser parser) throws IOException {
    // The structure itself lies in the event's own object.
    for (int depth = 2; depth > 1; ) {
      if (depth > MAX_DEPTH) {
        return false;
      }
      JsonToken token = parser.nextToken();
      if (token == null) {
        throw new IOException("ends inside a structure");
      }
      depth += token.isStructStart() ? 1 : token.isStructEnd() ? -1 : 0;
    }
    return true;
  }

  private static int indexOf(String name) {
    for (int field = 0; field < FIELDS.length; field++) {
      if (FIELDS[field].equals(name)) {
        return field;
      }
    }
    return -1;
  }

  private static Object valueOf(JsonParser parser, JsonToken token, int field) throws IOException {
    if (field == EVENT_TIME) {
      return token == JsonToken.VALUE_NUMBER_INT && parser.getTextLength() <= MAX_TIME_DIGITS && parser.getLongValue() > 0
          ? parser.getLongValue()
          : BAD;
    }
    if (field == VALUE) {
      boolean isNumber = token == JsonToken.VALUE_NUMBER_INT || token == JsonToken.VALUE_NUMBER_FLOAT;
      return isNumber && Double.isFinite(parser.getDoubleValue()) ? parser.getDoubleValue() : BAD;
    }
    if (field == REQUEST_TOKEN) {
      // What is no token is as good as none: {@link TokenHolds} judges, where tokens are wanted at all.
      boolean isText = token == JsonToken.VALUE_STRING && parser.getTextLength() <= MAX_TOKEN_CHARS;
      return isText ? StringData.fromString(parser.getText()) : null;
    }
    if (token != JsonToken.VALUE_STRING) {
      return BAD;
    }
    String text = parser.getText();
    // An empty request_id is how protobuf's JSON writes "none".
    if (field == REQUEST_ID && text.isEmpty()) {
      return null;
    }
    return isId(text) ? StringData.fromString(text) : BAD;
  }

  /** Says whether a text is an id: 1-128 bytes of UTF-8 without control characters. */
  static boolean isId(String text) {
    int bytes = 0;
    for (int at = 0; at < text.length(); at++) {
      char character = text.charAt(at);
      if (Character.isISOControl(character)) {
        return false;
      }
      if (Character.isSurrogate(character)) {
        boolean isPair =
            Character.isHighSurrogate(character)
                && at + 1 < text.length()
                && Character.isLowSurrogate(text.charAt(at + 1));
        if (!isPair) {
          return false;
        }
        at++;
        bytes += 4;
      } else {
        bytes += character < 0x80 ? 1 : character < 0x800 ? 2 : 3;
      }
    }
    return bytes > 0 && bytes <= MAX_ID_BYTES;
  }

  /** Refuses byte order marks and other encodings, which the parser would detect and follow. */
  private static boolean beginsAnObject(byte[] raw) {
    for (int at = 0; at < raw.length; at++) {
      byte one = raw[at];
      if (one == '{') {
        return at + 1 < raw.length && raw[at + 1] != 0;
      }
      if (one != ' ' && one != '\t' && one != '\n' && one != '\r') {
        return false;
      }
    }
    return false;
  }

  private static boolean isUtf8(byte[] raw) {
    for (byte one : raw) {
      if (one < 0) {
        try {
          StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(raw));
          return true;
        } catch (CharacterCodingException error) {
          return false;
        }
      }
    }
    return true;
  }

  private static StringData wrapped(byte[] raw, int start, int end) {
    return StringData.fromString("[" + new String(raw, start, end - start, StandardCharsets.UTF_8) + "]");
  }
}
