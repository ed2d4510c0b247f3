package headrace.functions;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Bytes of a protobuf message that is being written, and the fields of {@code FeatureRow} in protos/features.proto.
 *
 * <p>By hand: Flink brings no protobuf that functions may use. A nested message is begun and ended; its length goes in front
 * of it when it is known, for which its bytes are moved by one or two.
 */
final class ProtoBuffer {
  static final int ENTITY_ID = lengthTag(1);
  static final int EVENT_TIME_MS = varintTag(2);
  static final int VALUE = lengthTag(3);
  static final int DECLARED = lengthTag(4);
  static final int MAP_KEY = lengthTag(1);
  static final int MAP_VALUE = lengthTag(2);

  private byte[] bytes = new byte[4096];
  private int size;

  static int lengthTag(int field) {
    return field << 3 | 2;
  }

  static int varintTag(int field) {
    return field << 3;
  }

  static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  void clear() {
    size = 0;
  }

  byte[] toBytes() {
    return Arrays.copyOf(bytes, size);
  }

  void putVarint(int tag, long number) {
    putVarint(tag);
    putVarint(number);
  }

  void putBytes(int tag, byte[] value) {
    putBytes(tag, value, 0, value.length);
  }

  void putBytes(int tag, byte[] value, int from, int length) {
    putVarint(tag);
    putVarint(length);
    ensure(length);
    System.arraycopy(value, from, bytes, size, length);
    size += length;
  }

  /** Begins a message, or a list of numbers without tags; returns what {@link #end} needs. */
  int begin(int tag) {
    putVarint(tag);
    return size;
  }

  /** Puts the length of what was written since {@code start} in front of it. */
  void end(int start) {
    int length = size - start;
    int width = 1;
    while (length >>> 7 * width != 0) {
      width++;
    }
    ensure(width);
    System.arraycopy(bytes, start, bytes, start + width, length);
    size = start;
    putVarint(length);
    size += length;
  }

  /** Appends seven bits after seven bits, the lowest first; negative numbers take ten bytes. */
  void putVarint(long number) {
    ensure(10);
    while ((number & ~0x7fL) != 0) {
      bytes[size++] = (byte) (number & 0x7f | 0x80);
      number >>>= 7;
    }
    bytes[size++] = (byte) number;
  }

  void putDouble(double number) {
    ensure(Double.BYTES);
    PackedDoubles.put(bytes, size, number);
    size += Double.BYTES;
  }

  private void ensure(int more) {
    if (size + more > bytes.length) {
      bytes = Arrays.copyOf(bytes, Math.max(2 * bytes.length, size + more));
    }
  }
}
