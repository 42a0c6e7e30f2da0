// The strip of figures above the live calls, with the last two minutes of each.

import { h, setText } from '../dom.js';
import { count, rate } from '../format.js';
import { live } from '../live.js';

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 120;
const HEIGHT = 30;

const FIGURES = [
  { name: 'Calls', value: (snapshot) => count(snapshot.calls), graph: 'calls' },
  { name: 'Rooms', value: (snapshot) => count(snapshot.rooms) },
  { name: 'Media legs', value: (snapshot) => count(snapshot.legs) },
  { name: 'Packets per second', value: (snapshot) => rate(snapshot.rates?.packets), graph: 'packets' },
  { name: 'Refused per second', value: (snapshot) => rate(snapshot.rates?.refused) },
];

export function figures(signal) {
  const tiles = FIGURES.map((figure) => {
    const value = h('span', {}, '–');
    const path = figure.graph && document.createElementNS(SVG, 'path');
    return { figure, value, path, element: h('div', {}, h('dt', {}, figure.name), h('dd', {}, value, path && graph(path))) };
  });
  const draw = () => {
    if (!live.snapshot) return;
    for (const { figure, value, path } of tiles) {
      setText(value, figure.value(live.snapshot));
      if (path) path.setAttribute('d', line(live.history.map((point) => point[figure.graph])));
    }
  };
  draw();
  live.addEventListener('snapshot', draw, { signal });
  live.addEventListener('tick', draw, { signal });
  return h('dl', { class: 'figures' }, tiles.map(({ element }) => element));
}

function graph(path) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true');
  svg.classList.add('spark');
  svg.append(path);
  return svg;
}

/** From the right edge, where now is; the highest value is the top. */
function line(values) {
  const top = Math.max(1, ...values);
  const points = values.map((value, index) => {
    const x = WIDTH - (values.length - 1 - index);
    return `${x} ${(HEIGHT - 2 - (value / top) * (HEIGHT - 4)).toFixed(1)}`;
  });
  return points.length > 1 ? `M${points.join('L')}` : '';
}
