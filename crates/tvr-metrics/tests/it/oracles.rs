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

/// Sums of retrieval probabilities of each column, 1 where it is fair.
pub fn represented(s: &[Vec<f64>]) -> Vec<f64> {
    let mut rho = vec![0.0; s[0].len()];
    for row in s {
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = row.iter().map(|x| (x - most).exp()).sum();
        for (j, x) in row.iter().enumerate() {
            rho[j] += (x - most).exp() / total * row.len() as f64 / s.len() as f64;
        }
    }
    rho
}

/// Gallery potentials of Sinkhorn with uniform marginals, in the log domain.
pub fn sinkhorn_bias(s: &[Vec<f64>], sweeps: usize) -> Vec<f64> {
    let lse = |terms: Vec<f64>| {
        let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most + terms.iter().map(|x| (x - most).exp()).sum::<f64>().ln()
    };
    let (n, m) = (s.len(), s[0].len());
    let (mut f, mut g) = (vec![0.0; n], vec![0.0; m]);
    for _ in 0..sweeps {
        for i in 0..n {
            f[i] = -(n as f64).ln() - lse((0..m).map(|j| s[i][j] + g[j]).collect());
        }
        for j in 0..m {
            g[j] = -(m as f64).ln() - lse((0..n).map(|i| s[i][j] + f[i]).collect());
        }
    }
    g
}

/// How often `gram` stands in `words`.
fn times(words: &[String], gram: &[String]) -> usize {
    let mut times = 0;
    for start in 0..words.len() {
        if start + gram.len() <= words.len() && words[start..start + gram.len()] == *gram {
            times += 1;
        }
    }
    times
}

/// The different n-grams of `words`.
fn grams(words: &[String], n: usize) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for start in 0..words.len() {
        if start + n <= words.len() && !all.contains(&words[start..start + n].to_vec()) {
            all.push(words[start..start + n].to_vec());
        }
    }
    all
}

/// BLEU-`order` of a corpus.
pub fn bleu(candidates: &[Vec<String>], references: &[Vec<Vec<String>>], order: usize) -> f64 {
    let (mut c, mut r) = (0.0, 0.0);
    for (candidate, references) in candidates.iter().zip(references) {
        c += candidate.len() as f64;
        let mut best = references[0].len();
        for reference in references {
            let (here, there) = (reference.len().abs_diff(candidate.len()), best.abs_diff(candidate.len()));
            if here < there || (here == there && reference.len() < best) {
                best = reference.len();
            }
        }
        r += best as f64;
    }
    let mut product = 1.0;
    for n in 1..=order {
        let (mut right, mut all) = (0.0, 0.0);
        for (candidate, references) in candidates.iter().zip(references) {
            for gram in grams(candidate, n) {
                let most = references.iter().map(|reference| times(reference, &gram)).max().unwrap();
                right += times(candidate, &gram).min(most) as f64;
                all += times(candidate, &gram) as f64;
            }
        }
        product *= if all == 0.0 { 0.0 } else { right / all };
    }
    if product == 0.0 {
        return 0.0;
    }
    (if c < r { (1.0 - r / c).exp() } else { 1.0 }) * product.powf(1.0 / order as f64)
}

/// CIDEr-D of each candidate.
pub fn cider(candidates: &[Vec<String>], references: &[Vec<Vec<String>>]) -> Vec<f64> {
    let videos = references.len() as f64;
    let weight = |words: &[String], gram: &[String]| {
        let holds = references.iter().filter(|list| list.iter().any(|words| times(words, gram) > 0)).count();
        times(words, gram) as f64 * (videos.ln() - (holds.max(1) as f64).ln())
    };
    let mut scores = Vec::new();
    for (candidate, list) in candidates.iter().zip(references) {
        let mut score = 0.0;
        for n in 1..=4 {
            for reference in list {
                let norm = |words: &[String]| {
                    grams(words, n).iter().map(|gram| weight(words, gram).powi(2)).sum::<f64>().sqrt()
                };
                let mut product = 0.0;
                for gram in grams(candidate, n) {
                    product +=
                        weight(candidate, &gram).min(weight(reference, &gram)) * weight(reference, &gram);
                }
                let norms = norm(candidate) * norm(reference);
                if norms > 0.0 {
                    let apart = candidate.len() as f64 - reference.len() as f64;
                    score += product / norms * (-apart * apart / 72.0).exp() / list.len() as f64;
                }
            }
        }
        scores.push(10.0 * score / 4.0);
    }
    scores
}

/// For each item, the queries that have fewer than `k` items before it; of equal scores the smaller index is first.
pub fn occurrences(s: &[Vec<f64>], k: usize) -> Vec<u32> {
    let mut counts = vec![0; s[0].len()];
    for row in s {
        for (item, &score) in row.iter().enumerate() {
            let before = |(other, &x): (usize, &f64)| x > score || (x == score && other < item);
            let ahead = row.iter().enumerate().filter(|cell| before(*cell)).count();
            counts[item] += u32::from(ahead < k);
        }
    }
    counts
}

/// The third standardised moment; 0 for equal counts.
pub fn skewness(counts: &[u32]) -> f64 {
    let items = counts.len() as f64;
    let mean = counts.iter().sum::<u32>() as f64 / items;
    let (mut second, mut third) = (0.0, 0.0);
    for &count in counts {
        let apart = f64::from(count) - mean;
        second += apart * apart / items;
        third += apart * apart * apart / items;
    }
    if counts.iter().all(|&count| count == counts[0]) { 0.0 } else { third / second.powf(1.5) }
}

/// Splitmix64 as published by Steele et al. 2014: the state and the number.
pub fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let first = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let second = (first ^ (first >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    second ^ (second >> 31)
}

/// Sorted means of resampled seeds and queries, in the documented order of the numbers: one stream a draw, the seeds
/// before the queries, and no number for the choice among one seed.
pub fn resampled_means(seeds: &[Vec<f64>], draws: u64, seed: u64) -> Vec<f64> {
    let queries = seeds[0].len();
    let mut means = Vec::new();
    for draw in 0..draws {
        let mut state = seed;
        state = splitmix64(&mut state).wrapping_add(draw).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        state = splitmix64(&mut state);
        let mut below =
            |count: usize| (u128::from(splitmix64(&mut state)) * count as u128 / (1u128 << 64)) as usize;
        let chosen: Vec<usize> =
            seeds.iter().map(|_| if seeds.len() > 1 { below(seeds.len()) } else { 0 }).collect();
        let mut sum = 0.0;
        for _ in 0..queries {
            let query = below(queries);
            sum += chosen.iter().map(|&one| seeds[one][query]).sum::<f64>();
        }
        means.push(sum / (seeds.len() * queries) as f64);
    }
    means.sort_by(f64::total_cmp);
    means
}
