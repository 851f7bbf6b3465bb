//! Slow and obvious: f64, loops, indices, from the metrics' definitions. Nothing here calls the crate.

/// Per query: items above and items equal (itself included); `None` is a dropped query.
pub type Counts = Vec<Option<(usize, usize)>>;

pub fn transpose(s: &[Vec<f64>]) -> Vec<Vec<f64>> {
    (0..s[0].len()).map(|j| s.iter().map(|row| row[j]).collect()).collect()
}

/// Row i's true item is column `own[i]`; NaN and infinite scores by the rule `miss` of §2.2.
pub fn count_miss(s: &[Vec<f64>], own: &[usize]) -> Counts {
    let mut counts = Vec::new();
    for (i, row) in s.iter().enumerate() {
        let mine = row[own[i]];
        if !mine.is_finite() {
            counts.push(Some((row.len() - 1, 1)));
            continue;
        }
        let (mut g, mut e) = (0, 0);
        for &x in row {
            if x.is_nan() || x > mine {
                g += 1;
            } else if x == mine {
                e += 1;
            }
        }
        counts.push(Some((g, e)));
    }
    counts
}

/// The published list of a square matrix, by its own way: sort, subtract the diagonal, take the places of exact zeros.
pub fn reference_list(s: &[Vec<f64>]) -> Vec<u32> {
    let mut list = Vec::new();
    for (i, row) in s.iter().enumerate() {
        let mut sorted: Vec<f64> = row.iter().map(|x| -x).collect();
        sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())));
        for (place, x) in sorted.iter().enumerate() {
            if x - (-row[i]) == 0.0 {
                list.push(u32::try_from(place).unwrap());
            }
        }
    }
    list
}

/// Group maxima under `miss`: NaN wins, as it does among competitors. [videos, groups]
pub fn group_maxima_miss(s: &[Vec<f64>], groups: &[usize]) -> Vec<Vec<f64>> {
    let videos = s[0].len();
    let mut most = vec![vec![f64::NEG_INFINITY; videos]; videos];
    for (t, row) in s.iter().enumerate() {
        for (v, &x) in row.iter().enumerate() {
            let x = if x.is_nan() { f64::INFINITY } else { x };
            most[v][groups[t]] = most[v][groups[t]].max(x);
        }
    }
    most
}

/// V2T, best of all captions, under `miss`.
pub fn count_best_miss(s: &[Vec<f64>], groups: &[usize]) -> Counts {
    let fixed = |x: f64| if x.is_nan() { f64::INFINITY } else { x };
    let mut counts = Vec::new();
    for v in 0..s[0].len() {
        let own = |t: &usize| groups[*t] == v;
        let mine = (0..s.len()).filter(own).map(|t| fixed(s[t][v])).fold(f64::NEG_INFINITY, f64::max);
        let others: Vec<f64> = (0..s.len()).filter(|t| !own(t)).map(|t| fixed(s[t][v])).collect();
        if !mine.is_finite() {
            counts.push(Some((others.len(), 1)));
            continue;
        }
        let g = others.iter().filter(|&&x| x > mine).count();
        let e = 1 + others.iter().filter(|&&x| x == mine).count();
        counts.push(Some((g, e)));
    }
    counts
}

/// T2V of grouped sets as published: place after a stable double argsort in which NaN comes first.
pub fn reference_grouped(s: &[Vec<f64>], groups: &[usize]) -> Counts {
    let mut counts = Vec::new();
    for (t, row) in s.iter().enumerate() {
        if !row[groups[t]].is_finite() {
            counts.push(None);
            continue;
        }
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| match (row[a].is_nan(), row[b].is_nan()) {
            (true, true) => std::cmp::Ordering::Equal,
            (true, false) => std::cmp::Ordering::Less,
            (false, true) => std::cmp::Ordering::Greater,
            _ => row[b].partial_cmp(&row[a]).unwrap(),
        });
        counts.push(Some((order.iter().position(|&v| v == groups[t]).unwrap(), 1)));
    }
    counts
}

/// Expected share of random orders of the tie block that put the true item among the first k, by listing places.
pub fn average_hit(g: usize, e: usize, k: usize) -> f64 {
    (0..e).filter(|offset| g + offset < k).count() as f64 / e as f64
}

/// numpy's median.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let n = values.len();
    if n % 2 == 1 { values[n / 2] } else { (values[n / 2 - 1] + values[n / 2]) / 2.0 }
}
