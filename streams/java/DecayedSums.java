package headrace.functions;

/**
 * Forward-decayed sums at several half-lives (Cormode et al. 2009, "Forward decay").
 *
 * <p>An amount at time t weighs 2^((t - landmark) / half-life), landmark = start of its epoch of 40 half-lives, so sums do
 * not depend on the order of arrival and never overflow. The result has one span of {@link EpochSums} per half-life.
 */
public class DecayedSums extends SpanSums {
  static final long EPOCH_HALF_LIVES = 40;

  /**
   * Adds amounts.
   *
   * @param halfLives half-lives in milliseconds, separated by commas
   * @param timeMs time of the amounts, milliseconds since 1970, positive
   * @param amounts one or more amounts, each summed by itself
   */
  public void accumulate(Sums sums, String halfLives, Long timeMs, Double... amounts) {
    double[] spans = parsed(halfLives);
    double[] numbers = numbersOf(sums, spans.length, amounts.length);
    int width = EpochSums.width(amounts.length);
    for (int index = 0; index < spans.length; index++) {
      long epochMs = Math.round(EPOCH_HALF_LIVES * spans[index]);
      double weight = Math.pow(2.0, (timeMs % epochMs) / spans[index]);
      EpochSums.add(numbers, index * width, timeMs / epochMs, weight, amounts);
    }
    keep(sums, numbers);
  }
}
