package headrace.functions;

/**
 * Sums over windows of one length, aligned to 1970: the newest window and the one before, from which a reader takes what a
 * window ending now covers. The result is one span of {@link EpochSums}.
 */
public class WindowedSums extends SpanSums {

  /**
   * Adds amounts.
   *
   * @param windowMs length of the window in milliseconds
   * @param timeMs time of the amounts, milliseconds since 1970, positive
   * @param amounts one or more amounts, each summed by itself
   */
  public void accumulate(Sums sums, Long windowMs, Long timeMs, Double... amounts) {
    double[] numbers = numbersOf(sums, 1, amounts.length);
    EpochSums.add(numbers, 0, timeMs / windowMs, 1.0, amounts);
    keep(sums, numbers);
  }
}
