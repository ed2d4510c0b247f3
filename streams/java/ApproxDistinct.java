package headrace.functions;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.functions.AggregateFunction;

/**
 * How many different texts: HyperLogLog (Flajolet et al. 2007) with 512 registers, standard error 4.6 %, and linear
 * counting below 2.5 times the registers. Registers hold maxima, so neither order nor repetition matters.
 *
 * <p>{@code features/distinct_counts.py} computes the same from the same hash.
 */
public class ApproxDistinct extends AggregateFunction<Double, ApproxDistinct.Registers> {
  private static final int INDEX_BITS = 9;
  private static final int SIZE = 1 << INDEX_BITS;

  /** The largest number of leading zeros, plus one, seen by each register; empty before the first text. */
  public static class Registers {
    @DataTypeHint("BYTES")
    public byte[] ranks = new byte[0];
  }

  @Override
  public Registers createAccumulator() {
    return new Registers();
  }

  /** Takes one text. */
  public void accumulate(
      Registers registers, @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData text) {
    if (registers.ranks.length == 0) {
      registers.ranks = new byte[SIZE];
    }
    long hash = hash(text.toBytes());
    int index = (int) (hash >>> (64 - INDEX_BITS));
    // The lowest bit is set so that a rank stays within the bits that are left.
    int rank = Long.numberOfLeadingZeros((hash << INDEX_BITS) | (1L << (INDEX_BITS - 1))) + 1;
    registers.ranks[index] = (byte) Math.max(registers.ranks[index], rank);
  }

  @Override
  public Double getValue(Registers registers) {
    if (registers.ranks.length == 0) {
      return 0.0;
    }
    double sum = 0;
    int empty = 0;
    for (byte rank : registers.ranks) {
      sum += Math.pow(2.0, -rank);
      empty += rank == 0 ? 1 : 0;
    }
    double estimate = 0.7213 / (1 + 1.079 / SIZE) * SIZE * SIZE / sum;
    return estimate <= 2.5 * SIZE && empty > 0 ? SIZE * Math.log((double) SIZE / empty) : estimate;
  }

  /** FNV-1a over the bytes, then the finalizer of MurmurHash3, which spreads it over all bits. */
  private static long hash(byte[] bytes) {
    long hash = 0xcbf29ce484222325L;
    for (byte one : bytes) {
      hash = (hash ^ (one & 0xff)) * 0x100000001b3L;
    }
    hash = (hash ^ (hash >>> 33)) * 0xff51afd7ed558ccdL;
    hash = (hash ^ (hash >>> 33)) * 0xc4ceb9fe1a85ec53L;
    return hash ^ (hash >>> 33);
  }
}
