import Contracts

#if canImport(Glibc)
import Glibc
#endif

/// The population stability index and what chance makes of it.
public enum Stability {
    /// Stands for an empty bin, so that the logarithm is finite: the convention of the tools people compare with.
    static let floor = 0.0001

    /// `Σ (c − r) · ln(c / r)` over the bins: `r` the reference's share, `c` the window's.
    /// - Parameters:
    ///   - reference: the share of each bin.
    ///   - counts: as many counts; nil is returned when they are all 0.
    public static func psi(reference: [Double], counts: [Int]) -> Double? {
        let rows = counts.reduce(0, +)
        guard rows > 0, counts.count == reference.count else { return nil }
        var sum = 0.0
        for (share, count) in zip(reference, counts) {
            let r = share == 0 ? floor : share
            let c = count == 0 ? floor : Double(count) / Double(rows)
            sum += (c - r) * log(c / r)
        }
        return sum
    }

    /// The PSI that a window without any drift exceeds with the given probability.
    ///
    /// Without drift PSI is distributed about as `(1/n + 1/m) · χ²(B − 1)`: `n` rows in the window, `m` in the reference, `B` bins in use
    /// (B. Yurdakul and J. Naranjo, "Statistical properties of the population stability index", 2020).
    public static func calibratedThreshold(bins: Int, rows: Int, referenceRows: Int, falseAlarms: Double) -> Double {
        guard bins > 1, rows > 0, referenceRows > 0 else { return 0 }
        return (1 / Double(rows) + 1 / Double(referenceRows)) * chiSquaredQuantile(1 - falseAlarms, degrees: bins - 1)
    }

    /// By E. B. Wilson and M. M. Hilferty, "The distribution of chi-square", 1931; within 1 % for the upper tail.
    static func chiSquaredQuantile(_ probability: Double, degrees: Int) -> Double {
        let (k, z) = (Double(degrees), normalQuantile(probability))
        let root = 1 - 2 / (9 * k) + z * (2 / (9 * k)).squareRoot()
        return k * root * root * root
    }

    /// By bisection of the complementary error function: exact to float64 and not on a hot path.
    static func normalQuantile(_ probability: Double) -> Double {
        var (low, high) = (-9.0, 9.0)
        for _ in 0..<80 {
            let middle = (low + high) / 2
            if 0.5 * erfc(-middle / 2.0.squareRoot()) < probability { low = middle } else { high = middle }
        }
        return (low + high) / 2
    }
}
