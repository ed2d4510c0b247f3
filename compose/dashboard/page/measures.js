// What measures are called, and which one stands for all of them.

const NAMES = {
  organic_ndcg: "NDCG of own choices", settled_ndcg: "NDCG of shown lists", settled_logloss: "log loss of shown lists",
  labelled_logloss: "log loss of labels", settled_calibration: "chance told, shown lists", labelled_calibration: "chance told, labels",
  "hr@10": "hit rate in the first 10", "ndcg@10": "NDCG in the first 10", "mrr@10": "reciprocal rank in the first 10", candidate_recall: "found among candidates",
  served_logloss: "log loss as feedback comes", served_list_auc: "AUC as feedback comes", settled_auc: "AUC of shown lists", settled_gauc: "AUC within a list",
  labelled_ece: "calibration error of labels", settled_ece: "calibration error of shown lists", settled_wanted: "lists with something wanted",
  labelled_auc: "AUC of labels", served_calibration: "chances told ÷ what came",
};
const ORDER = ["organic_ndcg", "settled_ndcg", "labelled_logloss", "settled_logloss"];

// Judged series are higher for the better; a log loss there is its negative, a log likelihood.
const JUDGED = { settled_logloss: "log likelihood of shown lists", labelled_logloss: "log likelihood of labels" };

export function measureName(name, isJudged = false) {
  const [metric, slice] = name.replace("]", "").split("[");
  const words = (isJudged && JUDGED[metric]) || NAMES[metric] || metric.replaceAll("_", " ");
  return slice ? `${words}, ${slice}` : words;
}
export const isCalibration = (name) => name.endsWith("_calibration");

export function headline(judged) {
  const whole = judged.filter((one) => !one.slice && ORDER.includes(one.metric) && one.size >= 20);
  whole.sort((a, b) => ORDER.indexOf(a.metric) - ORDER.indexOf(b.metric));
  return whole[0] ?? null;
}
