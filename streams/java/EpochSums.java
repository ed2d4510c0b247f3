package headrace.functions;

/**
 * Sums over time epochs, of which a row carries the newest and the one before: {@code 1 + 2 K} numbers for {@code K}
 * amounts, laid out as newest epoch, its sums, the sums of the epoch before.
 *
 * <p>Every amount of an epoch is added with a weight that depends on the amount's time alone, so the result is a function
 * of the set of amounts, whatever their order of arrival: what is older than the epoch before the newest has no place.
 */
final class EpochSums {
  private EpochSums() {}

  /** Returns how many numbers one span takes. */
  static int width(int amounts) {
    return 1 + 2 * amounts;
  }

  /** Adds {@code amounts} times {@code weight} to the span that begins at {@code start} of {@code row}. */
  static void add(double[] row, int start, long epoch, double weight, Double[] amounts) {
    int count = amounts.length;
    long newest = (long) row[start];
    if (epoch > newest) {
      shift(row, start, count, epoch == newest + 1);
      row[start] = epoch;
      newest = epoch;
    }
    if (epoch < newest - 1) {
      return;
    }
    int at = start + 1 + (epoch == newest ? 0 : count);
    for (int index = 0; index < count; index++) {
      row[at + index] += weight * amounts[index];
    }
  }

  private static void shift(double[] row, int start, int count, boolean isNext) {
    for (int index = start + 1; index <= start + count; index++) {
      row[index + count] = isNext ? row[index] : 0;
      row[index] = 0;
    }
  }
}
