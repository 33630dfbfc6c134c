/** The types of the module that the server serves under this name. */
import uPlot from 'uplot';

// biome-ignore lint/style/noDefaultExport: uPlot's module has one.
export default uPlot;
