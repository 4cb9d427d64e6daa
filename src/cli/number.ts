export { formatNumber } from "../core/number.ts";
