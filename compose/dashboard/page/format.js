// Figures as people read them: every one with its unit.

export const dash = "–";
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

export function ms(value) {
  if (!isNumber(value)) return dash;
  if (value === 0) return "0 ms";
  if (value >= 60000) return `${(value / 60000).toFixed(1)} min`;
  if (value >= 1000) return `${(value / 1000).toFixed(value >= 10000 ? 0 : 1)} s`;
  return value >= 10 ? `${Math.round(value)} ms` : `${value.toFixed(value >= 1 ? 1 : 2)} ms`;
}

export function age(milliseconds) {
  if (!isNumber(milliseconds)) return dash;
  const seconds = Math.max(0, milliseconds / 1000);
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${(seconds / 3600).toFixed(1)} h` : `${Math.round(seconds / 86400)} d`;
}

export function rate(value, unit) {
  if (!isNumber(value)) return dash;
  return `${value >= 10 || value === 0 ? Math.round(value).toLocaleString("en") : value.toFixed(1)}${unit ? ` ${unit}` : ""}/s`;
}

export const count = (value) => (isNumber(value) ? Math.round(value).toLocaleString("en") : dash);
export function share(value) {
  if (!isNumber(value)) return dash;
  if (value > 0 && value < 0.001) return "under 0.1 %";
  return `${(100 * value).toFixed(value > 0 && value < 0.1 ? 1 : 0)} %`;
}
export const decimal = (value, digits = 3) => (isNumber(value) ? value.toFixed(digits) : dash);
export const figure = (value) => (Number.isInteger(value) && Math.abs(value) >= 2 ? count(value) : decimal(value, 4));
export const signed = (value, digits = 3) => (isNumber(value) ? `${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(digits)}` : dash);

export function bytes(value) {
  if (!isNumber(value)) return dash;
  return value >= 1 << 20 ? `${(value / (1 << 20)).toFixed(1)} MB` : value >= 1024 ? `${(value / 1024).toFixed(0)} KB` : `${value} B`;
}

export function clock(time) {
  return time ? new Date(time).toLocaleTimeString("en-GB") : dash;
}

export function moment(time) {
  return time ? new Date(time).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" }) : dash;
}

export function plural(value, word) {
  return `${count(value)} ${word}${value === 1 ? "" : "s"}`;
}
