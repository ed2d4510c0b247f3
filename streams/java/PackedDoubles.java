package headrace.functions;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/**
 * Doubles in bytes, as state keeps them: a snapshot copies bytes in one piece, and an array of doubles box by box (a third
 * of what a checkpoint cost).
 */
final class PackedDoubles {
  private static final VarHandle DOUBLES =
      MethodHandles.byteArrayViewVarHandle(double[].class, ByteOrder.LITTLE_ENDIAN);

  private PackedDoubles() {}

  /** Returns the double that begins at byte {@code at}. */
  static double get(byte[] packed, int at) {
    return (double) DOUBLES.get(packed, at);
  }

  /** Writes a double from byte {@code at} on. */
  static void put(byte[] packed, int at, double number) {
    DOUBLES.set(packed, at, number);
  }

  /** Fills {@code numbers} with what begins at byte {@code at}. */
  static void unpack(byte[] packed, int at, double[] numbers) {
    for (int index = 0; index < numbers.length; index++) {
      numbers[index] = get(packed, at + index * Double.BYTES);
    }
  }

  /** Writes {@code numbers} from byte {@code at} on. */
  static void pack(double[] numbers, byte[] packed, int at) {
    for (int index = 0; index < numbers.length; index++) {
      put(packed, at + index * Double.BYTES, numbers[index]);
    }
  }
}
