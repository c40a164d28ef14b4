import Contracts
import TestSupport
import Testing

@Suite("Memory budget")
struct MemoryBudgetTests {
    private let budget = MemoryBudget(bytes: 160 << 20)

    @Test("the parts are the whole")
    func parts() {
        #expect(MemoryBudget.Part.allCases.map { budget.capacity(of: $0) }.reduce(0, +) == budget.bytes)
    }

    @Test("what does not fit now is refused and takes nothing; what never fits is said to")
    func full() throws {
        let capacity = budget.capacity(of: .requests)
        let first = MemoryReservation(of: budget)
        try first.take(capacity - 10, for: .requests)
        let second = MemoryReservation(of: budget)
        #expect(throws: KeelError.self) { try second.take(11, for: .requests) }
        #expect(budget.used(by: .requests) == capacity - 10)
        try second.take(10, for: .requests)
        do {
            try second.take(1, for: .requests)
            Issue.record("a full part took more")
        } catch { #expect(error.code == .unavailable) }
        do {
            try second.take(capacity - 9, for: .requests)
            Issue.record("more than the part was taken")
        } catch { #expect(error.code == .payloadTooLarge) }
        try second.take(5, for: .uploads)
        #expect(budget.used(by: .uploads) == 5)
        withExtendedLifetime((first, second)) {}
    }

    @Test("everything is given back when the work is done", arguments: 0..<20)
    func givenBack(seed: Int) async {
        // Many tasks take and let go at random: the sum never leaves the capacity, and nothing is left.
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask { [budget] in
                    var random = Seeded(UInt64(seed * 8 + task + 1))
                    for _ in 0..<200 {
                        let reservation = MemoryReservation(of: budget)
                        for _ in 0..<3 {
                            let part = MemoryBudget.Part.allCases[Int.random(in: 0..<MemoryBudget.Part.allCases.count, using: &random)]
                            try? reservation.take(Int.random(in: 0..<budget.capacity(of: part), using: &random), for: part)
                            #expect(budget.used(by: part) <= budget.capacity(of: part))
                        }
                    }
                }
            }
        }
        for part in MemoryBudget.Part.allCases { #expect(budget.used(by: part) == 0) }
    }
}
