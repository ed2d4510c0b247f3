package headrace.functions;

import java.util.Arrays;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.binary.BinaryStringData;
import org.apache.flink.table.functions.AggregateFunction;

/**
 * The newest N items shown to a user by (time, request, place on the list), newest first, an item as often as it was
 * shown: how often and how lately are the reader's to count. A function of the set of lists, whatever their order.
 */
@FunctionHint(
    output =
        @DataTypeHint(
            value = "ROW<item_ids ARRAY<STRING>, times_ms ARRAY<BIGINT NOT NULL>>",
            bridgedTo = RowData.class))
public class NewestShown extends AggregateFunction<RowData, NewestShown.Lists> {

  /** Lists, newest first; the last one may reach beyond the limit. */
  public static class Lists {
    @DataTypeHint("ARRAY<BIGINT NOT NULL>")
    public long[] timesMs = new long[0];

    @DataTypeHint("ARRAY<INT NOT NULL>")
    public int[] sizes = new int[0];

    @DataTypeHint(value = "ARRAY<STRING>", bridgedTo = ArrayData.class)
    public ArrayData requestIds = new GenericArrayData(new Object[0]);

    @DataTypeHint(value = "ARRAY<STRING>", bridgedTo = ArrayData.class)
    public ArrayData itemIds = new GenericArrayData(new Object[0]);

    public int limit = 0;
  }

  @Override
  public Lists createAccumulator() {
    return new Lists();
  }

  /** Takes one served list. */
  public void accumulate(
      Lists lists,
      Integer limit,
      Long timeMs,
      @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData requestId,
      @DataTypeHint(value = "ARRAY<ROW<item_id STRING>>", bridgedTo = ArrayData.class) ArrayData items) {
    Object[] itemIds = itemIds(items);
    lists.limit = limit;
    int at = 0;
    int before = 0;
    while (at < lists.timesMs.length && isNewer(lists, at, timeMs, requestId)) {
      before += lists.sizes[at++];
    }
    // Lists that name no item take no place among those that count, so nothing would ever push them out.
    if (before >= limit || itemIds.length == 0) {
      return;
    }
    int kept = at;
    int total = before + itemIds.length;
    while (kept < lists.timesMs.length && total < limit) {
      total += lists.sizes[kept++];
    }
    insert(lists, at, kept, before, total, timeMs, requestId, itemIds);
  }

  @Override
  public RowData getValue(Lists lists) {
    int shown = Math.min(lists.itemIds.size(), lists.limit);
    Object[] itemIds = new Object[shown];
    long[] timesMs = new long[shown];
    int list = 0;
    int left = lists.sizes.length == 0 ? 0 : lists.sizes[0];
    for (int place = 0; place < shown; place++) {
      while (left == 0) {
        left = lists.sizes[++list];
      }
      itemIds[place] = lists.itemIds.getString(place);
      timesMs[place] = lists.timesMs[list];
      left--;
    }
    return GenericRowData.of(new GenericArrayData(itemIds), new GenericArrayData(timesMs));
  }

  private static boolean isNewer(Lists lists, int at, long timeMs, StringData requestId) {
    long other = lists.timesMs[at];
    return other > timeMs || (other == timeMs && Texts.compare(lists.requestIds.getString(at), requestId) > 0);
  }

  /** Puts a list at place {@code at}, before whose first item stand {@code before} items, and keeps up to {@code kept}. */
  private static void insert(
      Lists lists, int at, int kept, int before, int total, long timeMs, StringData requestId, Object[] itemIds) {
    long[] timesMs = new long[kept + 1];
    int[] sizes = new int[kept + 1];
    Object[] requestIds = new Object[kept + 1];
    for (int index = 0; index <= kept; index++) {
      int from = index < at ? index : index - 1;
      timesMs[index] = index == at ? timeMs : lists.timesMs[from];
      sizes[index] = index == at ? itemIds.length : lists.sizes[from];
      requestIds[index] = index == at ? copied(requestId) : lists.requestIds.getString(from);
    }
    Object[] items = new Object[total];
    for (int index = 0; index < total; index++) {
      int inside = index - before;
      boolean isOwn = inside >= 0 && inside < itemIds.length;
      int from = index < before ? index : index - itemIds.length;
      items[index] = isOwn ? itemIds[inside] : lists.itemIds.getString(from);
    }
    lists.timesMs = timesMs;
    lists.sizes = sizes;
    lists.requestIds = new GenericArrayData(requestIds);
    lists.itemIds = new GenericArrayData(items);
  }

  private static Object[] itemIds(ArrayData items) {
    Object[] ids = new Object[items.size()];
    int size = 0;
    for (int index = 0; index < ids.length; index++) {
      if (!items.isNullAt(index) && !items.getRow(index, 1).isNullAt(0)) {
        ids[size++] = copied(items.getRow(index, 1).getString(0));
      }
    }
    return Arrays.copyOf(ids, size);
  }

  /** Arguments lie in a buffer that the next record overwrites. */
  private static StringData copied(StringData text) {
    return ((BinaryStringData) text).copy();
  }
}
