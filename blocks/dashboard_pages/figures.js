// Numbers and dates as people read them. `figures.py` writes the same for reports; a test holds them together.
const floeFigures = (() => {
  "use strict";
  const numberOf = (column, compact = false) => {
    const options = { style: column.number_style };
    if (column.number_style === "currency") options.currency = column.currency;
    if (compact) {
      Object.assign(options, { notation: "compact", maximumSignificantDigits: 4 });
    } else if (column.decimals !== null) {
      Object.assign(options, { minimumFractionDigits: column.decimals, maximumFractionDigits: column.decimals });
    } else if (column.number_style === "percent") {
      Object.assign(options, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
    } else if (column.number_style === "decimal") {
      options.maximumFractionDigits = 2;
    }
    const format = new Intl.NumberFormat("en-US", options);
    return (value) => format.format(value) + column.suffix;
  };
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const dateOf = (column) => (value) => {
    const date = new Date(value.length === 10 ? `${value}T00:00:00Z` : value);
    const unit = column.temporal_unit;
    if (unit === "year") return String(date.getUTCFullYear());
    if (unit === "quarter") return `Q${Math.floor(date.getUTCMonth() / 3) + 1} ${date.getUTCFullYear()}`;
    const month = `${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
    return unit === "month" ? month : `${date.getUTCDate()} ${month}`;
  };
  const writer = (column) => {
    const write = column.kind === "number" ? numberOf(column)
      : column.kind === "date" || column.kind === "datetime" ? dateOf(column)
      : column.kind === "boolean" ? (value) => (value ? "Yes" : "No") : String;
    return (value) => (value === null ? "–" : write(value));
  };
  // A large figure that stands alone is written short.
  const shown = (column, value) =>
    numberOf(column, column.number_style !== "percent" && Math.abs(value) >= 100000)(value);

  // ---- the latest figure of a series, against earlier ones
  const earlier = (day, unit, count) => {
    const date = new Date(`${day.slice(0, 10)}T00:00:00Z`);
    if (unit === "day") date.setUTCDate(date.getUTCDate() - count);
    else if (unit === "week") date.setUTCDate(date.getUTCDate() - 7 * count);
    else date.setUTCMonth(date.getUTCMonth() - count * { month: 1, quarter: 3, year: 12 }[unit]);
    return date.toISOString().slice(0, 10);
  };
  const change = (column, now, then, fallIsGood) => {
    const by = now - then;
    if (by === 0) return { direction: "", size: "no change", tone: "" };
    const relative = () => new Intl.NumberFormat("en-US", { style: "percent", maximumFractionDigits: 1 }).format(Math.abs(by / then));
    const size = column.number_style === "percent" ? `${Math.abs(by * 100).toFixed(1)} points`
      : then > 0 ? relative() : numberOf(column)(Math.abs(by));
    return { direction: by > 0 ? "up" : "down", size, tone: (by > 0) !== fallIsGood ? "good" : "bad" };
  };
  return { numberOf, dateOf, writer, shown, earlier, change };
})();
